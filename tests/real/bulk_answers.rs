//! What the verdicts assume of a `_bulk` answer, asked of a real engine.

use serde_json::json;

use crate::servers::OpenSearch;

#[tokio::test]
async fn a_bulk_answer_keeps_every_item_in_its_place() {
    let Some(search) = OpenSearch::start().await else { return };
    let index = "bulk-answers";
    let mapping = json!({"mappings": {"properties": {"bytes": {"type": "long"}}}});
    assert_eq!(search.put(index, &mapping).await.status, 200);
    let seen = search.post(&format!("{index}/_create/seen"), &json!({"bytes": 1})).await;
    assert_eq!(seen.status, 201, "{seen:?}");

    let create = |id: &str| json!({"create": {"_index": index, "_id": id}});
    let lines = [
        create("first"),
        json!({"bytes": 2}),
        create("seen"),
        json!({"bytes": 3}),
        create("malformed"),
        json!({"bytes": "no number"}),
        create("last"),
        json!({"bytes": 4}),
    ];
    let answer = search.bulk(&lines).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["errors"], true, "{answer:?}");
    let items = answer.body["items"].as_array().unwrap();
    let statuses: Vec<_> = items.iter().map(|item| item["create"]["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(201), Some(409), Some(400), Some(201)], "{answer:?}");
    let reasons: Vec<_> = items.iter().map(|item| &item["create"]["error"]["type"]).collect();
    let expected = [
        json!(null),
        json!("version_conflict_engine_exception"),
        json!("mapper_parsing_exception"),
        json!(null),
    ];
    assert!(reasons.into_iter().eq(&expected), "{answer:?}");
    search.refresh(index).await;
    assert_eq!(search.count(index).await, 3, "the first one, the one seen before, the last one");
    let kept = search.get(&format!("{index}/_doc/seen")).await;
    assert_eq!(kept.body["_source"]["bytes"], 1, "a refused duplicate changes nothing: {kept:?}");
}
