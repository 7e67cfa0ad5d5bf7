//! The fields of flow logs: names, types, and the names of IP protocols.
//!
//! From the record tables of the Amazon VPC user guide (versions 2–11) and of the Transit Gateway
//! guide (version 6). Integers and longs follow the tables' types; what is neither a number, an
//! address nor a time is a keyword, account ids included, whose leading zeros matter.

use super::schema::FieldType;

/// The version 2 fields, in the order of the default format.
pub(super) const DEFAULT: [(&str, FieldType); 14] = [
    ("version", FieldType::Integer),
    ("account-id", FieldType::Keyword),
    ("interface-id", FieldType::Keyword),
    ("srcaddr", FieldType::Ip),
    ("dstaddr", FieldType::Ip),
    ("srcport", FieldType::Integer),
    ("dstport", FieldType::Integer),
    ("protocol", FieldType::Integer),
    ("packets", FieldType::Long),
    ("bytes", FieldType::Long),
    ("start", FieldType::DateEpochSecond),
    ("end", FieldType::DateEpochSecond),
    ("action", FieldType::Keyword),
    ("log-status", FieldType::Keyword),
];

/// Whether a field tells where a flow was seen, which is the same in all of a log stream.
pub(super) fn is_of_interface(aws_name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "version",
        "account-id",
        "interface-id",
        "vpc-id",
        "subnet-id",
        "instance-id",
        "region",
        "az-id",
        "resource-type",
        "tgw-id",
        "tgw-attachment-id",
    ];
    NAMES.contains(&aws_name)
}

/// Every field that came later.
const LATER: [(&str, FieldType); 58] = [
    // Version 3.
    ("vpc-id", FieldType::Keyword),
    ("subnet-id", FieldType::Keyword),
    ("instance-id", FieldType::Keyword),
    ("tcp-flags", FieldType::Integer),
    ("type", FieldType::Keyword),
    ("pkt-srcaddr", FieldType::Ip),
    ("pkt-dstaddr", FieldType::Ip),
    // Version 4.
    ("region", FieldType::Keyword),
    ("az-id", FieldType::Keyword),
    ("sublocation-type", FieldType::Keyword),
    ("sublocation-id", FieldType::Keyword),
    // Version 5.
    ("pkt-src-aws-service", FieldType::Keyword),
    ("pkt-dst-aws-service", FieldType::Keyword),
    ("flow-direction", FieldType::Keyword),
    ("traffic-path", FieldType::Integer),
    // Version 6: Transit Gateway.
    ("resource-type", FieldType::Keyword),
    ("tgw-id", FieldType::Keyword),
    ("tgw-attachment-id", FieldType::Keyword),
    ("tgw-src-vpc-account-id", FieldType::Keyword),
    ("tgw-dst-vpc-account-id", FieldType::Keyword),
    ("tgw-src-vpc-id", FieldType::Keyword),
    ("tgw-dst-vpc-id", FieldType::Keyword),
    ("tgw-src-subnet-id", FieldType::Keyword),
    ("tgw-dst-subnet-id", FieldType::Keyword),
    ("tgw-src-eni", FieldType::Keyword),
    ("tgw-dst-eni", FieldType::Keyword),
    ("tgw-src-az-id", FieldType::Keyword),
    ("tgw-dst-az-id", FieldType::Keyword),
    ("tgw-pair-attachment-id", FieldType::Keyword),
    ("packets-lost-no-route", FieldType::Long),
    ("packets-lost-blackhole", FieldType::Long),
    ("packets-lost-mtu-exceeded", FieldType::Long),
    ("packets-lost-ttl-expired", FieldType::Long),
    // Version 7: ECS.
    ("ecs-cluster-arn", FieldType::Keyword),
    ("ecs-cluster-name", FieldType::Keyword),
    ("ecs-container-instance-arn", FieldType::Keyword),
    ("ecs-container-instance-id", FieldType::Keyword),
    ("ecs-container-id", FieldType::Keyword),
    ("ecs-second-container-id", FieldType::Keyword),
    ("ecs-service-name", FieldType::Keyword),
    ("ecs-task-definition-arn", FieldType::Keyword),
    ("ecs-task-arn", FieldType::Keyword),
    ("ecs-task-id", FieldType::Keyword),
    // Versions 8 to 10.
    ("reject-reason", FieldType::Keyword),
    ("resource-id", FieldType::Keyword),
    ("encryption-status", FieldType::Keyword),
    // Version 11.
    ("instance-tag", FieldType::Keyword),
    ("instance-tag-2", FieldType::Keyword),
    ("interface-tag", FieldType::Keyword),
    ("interface-tag-2", FieldType::Keyword),
    ("asg-tag", FieldType::Keyword),
    ("asg-tag-2", FieldType::Keyword),
    ("interface-type", FieldType::Keyword),
    ("next-hop-interface-id", FieldType::Keyword),
    ("next-hop-subnet-id", FieldType::Keyword),
    ("next-hop-az-id", FieldType::Keyword),
    ("next-hop-vpc-id", FieldType::Keyword),
    ("next-hop-interface-type", FieldType::Keyword),
];

/// Every field, by AWS's name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, FieldType)> {
    DEFAULT.into_iter().chain(LATER)
}

/// IANA's keyword for a protocol number, for the protocols that are seen in networks.
pub(super) const fn protocol_name(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "HOPOPT",
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4",
        6 => "TCP",
        8 => "EGP",
        9 => "IGP",
        17 => "UDP",
        27 => "RDP",
        33 => "DCCP",
        41 => "IPv6",
        43 => "IPv6-Route",
        44 => "IPv6-Frag",
        46 => "RSVP",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "IPv6-ICMP",
        59 => "IPv6-NoNxt",
        60 => "IPv6-Opts",
        88 => "EIGRP",
        89 => "OSPFIGP",
        94 => "IPIP",
        97 => "ETHERIP",
        103 => "PIM",
        108 => "IPComp",
        112 => "VRRP",
        115 => "L2TP",
        132 => "SCTP",
        133 => "FC",
        135 => "Mobility Header",
        136 => "UDPLite",
        137 => "MPLS-in-IP",
        _ => return None,
    })
}
