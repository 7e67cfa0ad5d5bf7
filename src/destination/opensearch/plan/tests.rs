//! What a plan promises.

use std::path::Path;

use super::*;
use crate::destination::opensearch::refresh::RefreshInterval;
use crate::event::RouteName;
use crate::parse::{Field, FieldType, JsonOptions, Parser, Schema};

fn engine(version: Value) -> Engine {
    Engine::read(json!({ "version": version }).to_string().as_bytes()).unwrap()
}

fn opensearch() -> Engine {
    engine(json!({"distribution": "opensearch", "number": "3.8.0"}))
}

fn elasticsearch() -> Engine {
    engine(json!({"number": "8.12.2", "build_flavor": "default"}))
}

fn target(route: u16, index: &str, schema: Schema) -> Target {
    let name = RouteName::new(&format!("route-{route}"));
    Target { route: RouteId(route), name, index: index.parse().unwrap(), schema }
}

fn schema(fields: &[(&'static str, FieldType)]) -> Schema {
    let fields = fields.iter().map(|(name, ty)| Field { name: (*name).into(), ty: *ty });
    Schema { fields: fields.collect(), dynamic: false }
}

fn targets() -> Vec<Target> {
    let format = "version account-id interface-id srcaddr dstaddr srcport dstport protocol \
                  packets bytes start end action log-status";
    let flow = Parser::VpcFlow(format.parse().unwrap());
    vec![
        target(0, "cloudtrail-%Y.%m.%d", Parser::CloudTrail.schema()),
        target(1, "vpc-flowlogs-%Y.%m.%d", flow.schema()),
        target(2, "cwl-%Y.%m.%d", Parser::Json(JsonOptions::default()).schema()),
        target(3, "cwl-%Y.%m.%d", Parser::Plain.schema()),
        target(4, "audit", Parser::Plain.schema()),
    ]
}

fn keep() -> IndexSettings {
    let day = std::time::Duration::from_secs(86_400);
    IndexSettings {
        shards: Some(2),
        replicas: Some(1),
        refresh_interval: Some(RefreshInterval::Every(Period(day / 2880))),
        keep: Some(Period(day * 30)),
    }
}

fn plan(engine: &Engine, targets: &[Target]) -> Plan {
    Plan::new(engine, targets, &IndexSettings::default(), "1.2.3")
}

/// Compares with a file; `BLESS=1` writes it instead.
fn golden(file: &str, plan: &Plan) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(file);
    let mut text: String = plan.steps.iter().map(compact).collect();
    plan.notes.iter().for_each(|note| text.push_str(&format!("# {note}\n")));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs: look, then run with BLESS=1", path.display());
}

/// A line for the request, one for the body, and one for each field.
fn compact(step: &Step) -> String {
    let mut body = step.body().clone();
    let places = ["/template/mappings/properties", "/mappings/_doc/properties"];
    let place = places.into_iter().find(|place| body.pointer(place).is_some());
    let fields = place.and_then(|place| body.pointer_mut(place)).map(Value::take);
    let mut text = format!("PUT {}\n{body}\n", step.path());
    for (name, field) in fields.as_ref().and_then(Value::as_object).into_iter().flatten() {
        text.push_str(&format!("    {name}: {field}\n"));
    }
    text + "\n"
}

#[test]
fn the_requests_to_opensearch_3_are_those_of_the_sample() {
    golden("setup_opensearch_3.txt", &Plan::new(&opensearch(), &targets(), &keep(), "1.2.3"));
}

#[test]
fn the_requests_to_elasticsearch_8_are_those_of_the_sample() {
    golden("setup_elasticsearch_8.txt", &Plan::new(&elasticsearch(), &targets(), &keep(), "1.2.3"));
}

#[test]
fn the_requests_to_elasticsearch_6_are_those_of_the_sample() {
    let engine = engine(json!({"number": "6.7.2", "build_flavor": "oss"}));
    let targets = &targets()[2..];
    golden("setup_elasticsearch_6.txt", &Plan::new(&engine, targets, &keep(), "1.2.3"));
}

#[test]
fn the_requests_to_opensearch_serverless_are_those_of_the_sample() {
    let engine = Engine::opensearch_serverless();
    let targets = &targets()[2..];
    golden("setup_opensearch_serverless.txt", &Plan::new(&engine, targets, &keep(), "1.2.3"));
}

fn properties(step: &Step) -> &Value {
    step.body().pointer("/template/mappings/properties").unwrap()
}

#[test]
fn every_keyword_but_the_id_can_be_asked_for_as_dot_keyword() {
    for step in plan(&opensearch(), &targets()).steps {
        for (name, property) in properties(&step).as_object().unwrap() {
            if property["type"] == "keyword" {
                let sub_field = &property["fields"]["keyword"]["type"];
                assert_eq!(*sub_field == "keyword", name != "@id", "{name}");
            }
        }
    }
}

#[test]
fn a_dot_in_a_name_is_an_object() {
    let fields = [("@aws.region", FieldType::Keyword), ("@aws.zone", FieldType::Long)];
    let plan = plan(&opensearch(), &[target(0, "a", schema(&fields))]);
    let aws = &properties(&plan.steps[0])["@aws"]["properties"];
    assert_eq!((&aws["region"]["type"], &aws["zone"]["type"]), (&json!("keyword"), &json!("long")));
}

#[test]
fn only_own_fields_make_the_root_dynamic() {
    let mut dynamic = schema(&[]);
    dynamic.dynamic = true;
    let plan = plan(&opensearch(), &[target(0, "a", dynamic), target(1, "b", schema(&[]))]);
    let root = |n: usize| &plan.steps[n].body()["template"]["mappings"]["dynamic"];
    assert_eq!((root(0), root(1)), (&json!(true), &json!(false)));
}

#[test]
fn the_lambdas_documents_are_mapped_as_they_were_for_the_lambda() {
    let lambda = target(0, "cwl-%Y.%m.%d", Parser::Lambda.schema());
    let plan = plan(&opensearch(), &[lambda]);
    assert_eq!(plan.steps[0].body()["template"]["mappings"]["dynamic"], true);
    let message = &properties(&plan.steps[0])["@message"];
    let keyword = json!({"type": "keyword", "ignore_above": 256});
    assert_eq!(*message, json!({"type": "text", "fields": {"keyword": keyword}}));
    let group = &properties(&plan.steps[0])["@log_group"];
    assert_eq!(
        (&group["type"], &group["fields"]["keyword"]["type"]),
        (&json!("keyword"), &json!("keyword"))
    );
}

#[test]
fn routes_of_one_pattern_share_a_template() {
    let one = target(0, "cwl-%Y", schema(&[("level", FieldType::Keyword)]));
    let other = target(1, "cwl-%Y.%m", schema(&[("size", FieldType::Long)]));
    let plan = plan(&opensearch(), &[one, other]);
    assert_eq!((plan.steps.len(), plan.steps[0].routes.len()), (1, 2));
    let names: Vec<_> = properties(&plan.steps[0]).as_object().unwrap().keys().collect();
    assert_eq!(names, ["level", "size"]);
}

#[test]
fn routes_that_disagree_about_a_field_are_told_and_the_later_one_waits() {
    for (name, ty) in [("a", FieldType::Long), ("a.b", FieldType::Keyword)] {
        let one = target(0, "cwl-%Y", schema(&[("a", FieldType::Keyword)]));
        let plan = plan(&opensearch(), &[one, target(1, "cwl-%Y", schema(&[(name, ty)]))]);
        assert_eq!(plan.problems[0].routes, [RouteId(1)]);
        let error = &plan.problems[0].error;
        assert!(error.contains("`route-0` and `route-1`") && error.contains(name), "{error}");
        assert_eq!(properties(&plan.steps[0])["a"]["type"], "keyword");
    }
}

#[test]
fn of_two_patterns_for_an_index_the_narrower_has_the_higher_priority() {
    let indices = ["cwl-%Y", "cwl-prod-%Y", "cwl"];
    let targets: Vec<_> =
        indices.into_iter().zip(0..).map(|(index, n)| target(n, index, schema(&[]))).collect();
    let plan = plan(&opensearch(), &targets);
    let priority = |name: &str| {
        let step = plan.steps.iter().find(|step| step.name == name).unwrap();
        step.body()["priority"].as_u64().unwrap()
    };
    assert!(priority("logweir-cwl-prod") > priority("logweir-cwl"));
    assert_ne!(priority("logweir-cwl-exact"), priority("logweir-cwl"));
}

#[test]
fn keep_never_deletes_what_has_no_date_in_its_name() {
    for engine in [opensearch(), elasticsearch()] {
        let targets = [target(0, "a-%Y", schema(&[])), target(1, "b", schema(&[]))];
        let plan = Plan::new(&engine, &targets, &keep(), "1.2.3");
        assert!(plan.notes[0].contains("`b`"), "{:?}", plan.notes);
        let names: Vec<_> = plan.steps.iter().map(|step| step.name.as_str()).collect();
        if engine == elasticsearch() {
            let undated = "logweir-a-undated-exact";
            assert_eq!(names, ["logweir-a", "logweir-a", undated, "logweir-b-exact"]);
            for (n, policy) in [(1, json!("logweir-a")), (2, Value::Null), (3, Value::Null)] {
                let settings = &plan.steps[n].body()["template"]["settings"]["index"];
                assert_eq!(settings["lifecycle"]["name"], policy, "{}", names[n]);
            }
        } else {
            assert_eq!(names, ["logweir-a", "logweir-a", "logweir-b-exact"]);
            let found = plan.steps[0].body().pointer("/policy/ism_template/0/index_patterns");
            assert_eq!(found, Some(&json!(["a-2*"])));
        }
    }
}

#[test]
fn a_template_has_the_fields_of_routes_whose_placeholders_reach_its_indices() {
    let wide = target(0, "app-{log_group}-%Y", schema(&[("a", FieldType::Long)]));
    let dated = target(1, "app-orders-%Y", schema(&[("b", FieldType::Long)]));
    let exact = target(2, "app-audit", schema(&[("c", FieldType::Long)]));
    // No log group makes `apple` out of `app-`.
    let other = target(3, "apple", schema(&[("a", FieldType::Ip)]));
    // The day is no placeholder: its indices are app-0… to app-3….
    let plain = target(4, "app-%d", schema(&[("d", FieldType::Long)]));
    let plan = plan(&opensearch(), &[wide, dated, exact, other, plain]);
    let fields = |name: &str| -> Vec<String> {
        let step = plan.steps.iter().find(|step| step.name == name).unwrap();
        let mut fields: Vec<_> = properties(step).as_object().unwrap().keys().cloned().collect();
        fields.sort();
        fields
    };
    assert_eq!(fields("logweir-app"), ["a", "d"]);
    assert_eq!(fields("logweir-app-orders"), ["a", "b"]);
    assert_eq!(fields("logweir-app-audit-exact"), ["a", "c"]);
    assert_eq!(fields("logweir-apple-exact"), ["a"]);
    assert_eq!((plan.problems.len(), plan.steps.len()), (0, 4));
    let routes = |name: &str| &plan.steps.iter().find(|step| step.name == name).unwrap().routes;
    assert_eq!(routes("logweir-app-orders"), &[RouteId(1)]);
}

#[test]
fn a_route_whose_placeholders_reach_where_a_field_has_another_type_waits() {
    let wide = target(0, "app-{log_group}", schema(&[("a", FieldType::Long)]));
    let narrow = target(1, "app-orders", schema(&[("a", FieldType::Ip)]));
    let plan = plan(&opensearch(), &[wide, narrow]);
    assert_eq!((plan.problems.len(), &*plan.problems[0].routes), (1, &[RouteId(0)][..]));
}

#[test]
fn no_index_without_a_date_is_deleted_by_age() {
    let dateless = |index: &'static str| {
        [("cwl-%Y.%m", "cwl-prod-%Y"), ("cwl-{region}-%Y", "x-%Y")]
            .map(|(one, other)| [one, other, index].map(str::to_owned))
    };
    // An index without a date, the patterns that keep nothing with the first pair, with the second.
    for (index, first, second) in [
        ("cwl-{account}", vec!["cwl*", "cwl-prod*"], vec!["cwl*"]),
        ("cwl_{account}", vec!["cwl*"], vec!["cwl*"]),
        ("cw{account}", vec!["cwl*", "cwl-prod*"], vec!["cwl*"]),
        ("cwl-prod-{account}", vec!["cwl-prod*"], vec!["cwl*"]),
        ("cwl-21", vec!["cwl*"], vec![]),
        ("cwl-audit-21", vec![], vec!["cwl*"]),
        ("audit-{account}", vec![], vec![]),
    ] {
        for (indices, expected) in dateless(index).iter().zip([first, second]) {
            let targets: Vec<_> =
                (0..).zip(indices).map(|(n, index)| target(n, index, schema(&[]))).collect();
            for engine in [opensearch(), elasticsearch()] {
                let plan = Plan::new(&engine, &targets, &keep(), "1.2.3");
                let endangered = plan.notes.iter().filter(|note| note.contains("would be deleted"));
                let kept: Vec<_> = endangered.map(|note| note.split('`').nth(3).unwrap()).collect();
                assert_eq!(kept, expected, "{indices:?} {:?}", plan.notes);
                let policies = plan.steps.iter().filter(|step| !step.is_template()).count();
                assert_eq!(policies, 2 - expected.len(), "{indices:?}");
            }
        }
    }
}

#[test]
fn an_engine_without_lifecycles_is_told_and_set_up_all_the_same() {
    let engine = engine(json!({"number": "7.10.2", "build_flavor": "oss"}));
    let plan = Plan::new(&engine, &[target(0, "a-%Y", schema(&[]))], &keep(), "1.2.3");
    assert_eq!(plan.steps.len(), 1);
    assert!(plan.notes[0].contains("7.10.2"), "{:?}", plan.notes);
}

#[test]
fn the_legacy_api_gets_the_stamp_where_it_keeps_it() {
    let engine = engine(json!({"number": "7.1.1", "build_flavor": "oss"}));
    let step = plan(&engine, &[target(0, "a-%Y", schema(&[]))]).steps.remove(0);
    assert_eq!(step.path(), "/_template/logweir-a");
    assert_eq!(step.body()["mappings"]["_meta"]["managed_by"], "logweir");
    let there = json!({"logweir-a": step.body()});
    assert_eq!(step.decide(Some(&there)), Decision::Leave(Done::Unchanged));
}

#[test]
fn what_is_there_decides_what_is_done() {
    let meta = |by: &str, version: &str, hash: &str| {
        let meta = json!({"managed_by": by, "version": version, "hash": hash});
        json!({"index_templates": [{"name": "logweir-a", "index_template": {"_meta": meta}}]})
    };
    let step = plan(&opensearch(), &[target(0, "a-%Y", schema(&[]))]).steps.remove(0);
    let same = step.stamp.hash.as_str();
    let update = Decision::Put(Done::Updated, None);
    for (there, expected) in [
        (meta("logweir", "1.2.3", same), Decision::Leave(Done::Unchanged)),
        (meta("logweir", "1.2.3", "other"), update),
        (meta("logweir", "1.2.2", same), Decision::Put(Done::Updated, None)),
        (meta("logweir", "1.10.0", "other"), Decision::Leave(Done::Newer)),
        (meta("terraform", "1.2.3", same), Decision::Foreign),
        (json!({"index_templates": [{"index_template": {}}]}), Decision::Foreign),
        (json!({}), Decision::Foreign),
    ] {
        assert_eq!(step.decide(Some(&there)), expected, "{there}");
    }
    assert_eq!(step.decide(None), Decision::Put(Done::Installed, None));
}

#[test]
fn a_policy_is_replaced_only_as_it_was_read() {
    let targets = [target(0, "a-%Y", schema(&[]))];
    let step = Plan::new(&opensearch(), &targets, &keep(), "1.2.3").steps.remove(0);
    let there = |description: &str| json!({"_id": "x", "_seq_no": 7, "_primary_term": 2, "policy": {"description": description}});
    let own = step.body()["policy"]["description"].as_str().unwrap();
    assert_eq!(step.decide(Some(&there(own))), Decision::Leave(Done::Unchanged));
    let condition = Some("if_seq_no=7&if_primary_term=2".to_owned());
    let older = there("logweir 1.0.0 abc: deletes indices after 7d");
    assert_eq!(step.decide(Some(&older)), Decision::Put(Done::Updated, condition));
    assert_eq!(step.decide(Some(&there("keeps a month"))), Decision::Foreign);
}
