//! What becomes of a flow log line.

use std::net::IpAddr;

use super::document::{Content, Wrong};

const DEFAULT: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets \
                       bytes start end action log-status";

/// The names of a format's fields.
pub(super) type Format = Vec<String>;

pub(super) fn default_format() -> Format {
    format(DEFAULT)
}

pub(super) fn format(names: &str) -> Format {
    names.split_whitespace().map(str::to_owned).collect()
}

/// What a field holds.
enum Type {
    Number { most: u64 },
    Address,
    Term,
}

fn type_of(name: &str) -> Type {
    match name {
        "version" | "srcport" | "dstport" | "protocol" | "tcp-flags" | "traffic-path" => {
            Type::Number { most: i32::MAX as u64 }
        }
        "packets" | "bytes" => Type::Number { most: i64::MAX as u64 },
        _ if name.starts_with("packets-lost-") => Type::Number { most: i64::MAX as u64 },
        // The last second of the year 9999.
        "start" | "end" => Type::Number { most: 253_402_300_799 },
        "srcaddr" | "dstaddr" | "pkt-srcaddr" | "pkt-dstaddr" => Type::Address,
        _ => Type::Term,
    }
}

/// Reads a line; of several faults the first counts, and a wrong number of fields before all.
pub(super) fn read(format: &Format, line: &str) -> Result<Content, Wrong> {
    let tokens: Vec<_> = line.split_ascii_whitespace().collect();
    if tokens.len() != format.len() {
        let (found, expected) = (tokens.len(), format.len());
        let why = format!("the line has {found} fields, the format {expected}");
        return Err(("token_count", why));
    }
    let mut content = Content::default();
    for (name, token) in format.iter().zip(tokens).filter(|(_, token)| *token != "-") {
        let (field, fields) = (name.replace('-', "_"), &mut content.fields);
        match type_of(name) {
            Type::Number { most } => {
                if !token.chars().all(|c| c.is_ascii_digit()) {
                    return Err(("not_a_number", format!("{name} is not a number")));
                }
                let number = token.parse::<u64>().ok().filter(|number| *number <= most);
                let number = number.ok_or_else(|| too_large(name))?;
                fields.put(&field, &number.to_string());
                if name == "protocol"
                    && let Some(known) = protocol(number)
                {
                    fields.put_text("protocol_name", known);
                }
            }
            Type::Address => {
                token
                    .parse::<IpAddr>()
                    .map_err(|_| ("not_an_address", format!("{name} is not an IP address")))?;
                fields.put_text(&field, token);
            }
            Type::Term if token.len() > 8 << 10 => return Err(too_large(name)),
            Type::Term => fields.put_text(&field, token),
        }
    }
    Ok(content)
}

fn too_large(name: &str) -> Wrong {
    ("out_of_range", format!("{name} is too large"))
}

/// The README's names of protocols, by IANA's numbers.
fn protocol(number: u64) -> Option<&'static str> {
    const KNOWN: [(u64, &str); 33] = [
        (0, "HOPOPT"),
        (1, "ICMP"),
        (2, "IGMP"),
        (4, "IPv4"),
        (6, "TCP"),
        (8, "EGP"),
        (9, "IGP"),
        (17, "UDP"),
        (27, "RDP"),
        (33, "DCCP"),
        (41, "IPv6"),
        (43, "IPv6-Route"),
        (44, "IPv6-Frag"),
        (46, "RSVP"),
        (47, "GRE"),
        (50, "ESP"),
        (51, "AH"),
        (58, "IPv6-ICMP"),
        (59, "IPv6-NoNxt"),
        (60, "IPv6-Opts"),
        (88, "EIGRP"),
        (89, "OSPFIGP"),
        (94, "IPIP"),
        (97, "ETHERIP"),
        (103, "PIM"),
        (108, "IPComp"),
        (112, "VRRP"),
        (115, "L2TP"),
        (132, "SCTP"),
        (133, "FC"),
        (135, "Mobility Header"),
        (136, "UDPLite"),
        (137, "MPLS-in-IP"),
    ];
    KNOWN.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}
