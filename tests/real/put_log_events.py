"""Subscribes log groups to a Kinesis stream and puts log events into them, as one JSON object says."""

import json
import sys

import boto3

wanted = json.load(sys.stdin)
at = {
    "endpoint_url": wanted["endpoint"],
    "region_name": wanted["region"],
    "aws_access_key_id": "nobody",
    "aws_secret_access_key": "nothing",
}
logs, kinesis = boto3.client("logs", **at), boto3.client("kinesis", **at)
summary = kinesis.describe_stream_summary(StreamName=wanted["stream"])
arn = summary["StreamDescriptionSummary"]["StreamARN"]

for batch in wanted["batches"]:
    group, stream = batch["logGroupName"], batch["logStreamName"]
    try:
        logs.create_log_group(logGroupName=group)
        logs.put_subscription_filter(
            logGroupName=group,
            filterName="logweir",
            filterPattern="",
            destinationArn=arn,
            roleArn="arn:aws:iam::123456789012:role/cwl-to-kinesis",
        )
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    try:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    answer = logs.put_log_events(**batch)
    assert "rejectedLogEventsInfo" not in answer, answer
