//! CloudTrail events: many services, identities and errors, in the shapes of real trails.

use std::fmt::Write as _;

use fastrand::Rng;

use super::text::ACCOUNT;
use super::text::Calendar;
use super::text::REGION;
use super::text::USERS;
use super::text::expand;
use super::text::one_of;
use super::text::put;
use super::text::put_guid;
use super::text::put_public_ip;
use crate::event::Timestamp;

/// An API call: what it asks and answers, as templates of `text::expand`.
struct Call {
    service: &'static str,
    name: &'static str,
    kind: Kind,
    request: &'static str,
    response: &'static str,
    /// The `type` and `ARN` of the resource, where the event names one.
    resource: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    /// A data event that reads.
    DataRead,
    /// A data event that writes.
    DataWrite,
}

const fn call(
    service: &'static str,
    name: &'static str,
    kind: Kind,
    request: &'static str,
    response: &'static str,
) -> Call {
    Call { service, name, kind, request, response, resource: None }
}

impl Call {
    const fn on(self, kind: &'static str, arn: &'static str) -> Self {
        Self { resource: Some((kind, arn)), ..self }
    }

    const fn reads(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::DataRead)
    }

    const fn is_data(&self) -> bool {
        matches!(self.kind, Kind::DataRead | Kind::DataWrite)
    }
}

const BUCKET: &str = "AWS::S3::Bucket";
const OBJECT: &str = "AWS::S3::Object";
const KEY: &str = "AWS::KMS::Key";
const NULL: &str = "null";

/// `responseElements` of a call that only says whether it worked.
const DONE: &str = r#"{"requestId":"$g","_return":true}"#;

#[rustfmt::skip]
static CALLS: [Call; 34] = [
    call("s3", "GetObject", Kind::DataRead, r#"{"bucketName":"$b","Host":"acme.s3.amazonaws.com","key":"$k"}"#, NULL)
        .on(OBJECT, "arn:aws:s3:::$b/$k"),
    call("s3", "PutObject", Kind::DataWrite, r#"{"bucketName":"$b","key":"$k","x-amz-server-side-encryption":"aws:kms"}"#,
        r#"{"x-amz-server-side-encryption":"aws:kms","x-amz-version-id":"$h"}"#).on(OBJECT, "arn:aws:s3:::$b/$k"),
    call("s3", "DeleteObject", Kind::DataWrite, r#"{"bucketName":"$b","key":"$k"}"#, NULL).on(OBJECT, "arn:aws:s3:::$b/$k"),
    call("s3", "GetBucketAcl", Kind::Read, r#"{"bucketName":"$b","acl":""}"#, NULL).on(BUCKET, "arn:aws:s3:::$b"),
    call("s3", "PutBucketPolicy", Kind::Write, r#"{"bucketName":"$b","bucketPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/$r"},"Action":["s3:GetObject","s3:ListBucket"],"Resource":"arn:aws:s3:::$b/*"}]}}"#, NULL)
        .on(BUCKET, "arn:aws:s3:::$b"),
    call("s3", "ListBuckets", Kind::Read, r#"{"Host":"s3.us-east-1.amazonaws.com"}"#, NULL),
    call("s3", "CreateBucket", Kind::Write, r#"{"bucketName":"$b","CreateBucketConfiguration":{"LocationConstraint":"us-east-1"}}"#, NULL)
        .on(BUCKET, "arn:aws:s3:::$b"),
    call("ec2", "DescribeInstances", Kind::Read, r#"{"instancesSet":{"items":[{"instanceId":"i-$h"}]},"filterSet":{}}"#, NULL),
    call("ec2", "DescribeSecurityGroups", Kind::Read, r#"{"securityGroupSet":{},"filterSet":{"items":[{"name":"vpc-id","valueSet":{"items":[{"value":"vpc-$h"}]}}]}}"#, NULL),
    call("ec2", "RunInstances", Kind::Write, r#"{"instancesSet":{"items":[{"imageId":"ami-$h","minCount":1,"maxCount":1,"keyName":"$u"}]},"instanceType":"m7g.large","blockDeviceMapping":{},"monitoring":{"enabled":false}}"#,
        r#"{"requestId":"$g","instancesSet":{"items":[{"instanceId":"i-$h","imageId":"ami-$h","instanceState":{"code":0,"name":"pending"},"tagSet":{"items":[{"key":"owner","value":"$u"}]}}]}}"#),
    call("ec2", "TerminateInstances", Kind::Write, r#"{"instancesSet":{"items":[{"instanceId":"i-$h"}]}}"#,
        r#"{"requestId":"$g","instancesSet":{"items":[{"instanceId":"i-$h","currentState":{"code":32,"name":"shutting-down"},"previousState":{"code":16,"name":"running"}}]}}"#),
    call("ec2", "StartInstances", Kind::Write, r#"{"instancesSet":{"items":[{"instanceId":"i-$h"},{"instanceId":"i-$h"}]}}"#, DONE),
    call("ec2", "AuthorizeSecurityGroupIngress", Kind::Write, r#"{"groupId":"sg-$h","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]}}]}}"#, DONE),
    call("ec2", "CreateSnapshot", Kind::Write, r#"{"volumeId":"vol-$h","description":"nightly $n"}"#, r#"{"requestId":"$g","snapshotId":"snap-$h","progress":"","encrypted":true}"#),
    call("iam", "CreateUser", Kind::Write, r#"{"userName":"$u","tags":[{"key":"team","value":"$r"}]}"#, r#"{"user":{"path":"/","userName":"$u","userId":"AIDA$n","arn":"arn:aws:iam::111122223333:user/$u"}}"#),
    call("iam", "DeleteUser", Kind::Write, r#"{"userName":"$u"}"#, NULL),
    call("iam", "ListUsers", Kind::Read, r#"{"maxItems":100}"#, NULL),
    call("iam", "GetRole", Kind::Read, r#"{"roleName":"$r"}"#, NULL),
    call("iam", "AttachRolePolicy", Kind::Write, r#"{"roleName":"$r","policyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}"#, NULL),
    call("iam", "CreateAccessKey", Kind::Write, r#"{"userName":"$u"}"#, r#"{"accessKey":{"userName":"$u","accessKeyId":"AKIAIOSFODNN7EXAMPLE","status":"Active"}}"#),
    call("sts", "AssumeRole", Kind::Read, r#"{"roleArn":"arn:aws:iam::111122223333:role/$r","roleSessionName":"$u-$n","durationSeconds":3600}"#,
        r#"{"credentials":{"accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionToken":"$g"},"assumedRoleUser":{"assumedRoleId":"AROAIOSFODNN7EXAMPLE:$u-$n","arn":"arn:aws:sts::111122223333:assumed-role/$r/$u-$n"}}"#)
        .on("AWS::IAM::Role", "arn:aws:iam::111122223333:role/$r"),
    call("sts", "AssumeRoleWithSAML", Kind::Read, r#"{"sAMLAssertionID":"_$g","roleSessionName":"$u@example.com","principalArn":"arn:aws:iam::111122223333:saml-provider/corp"}"#, r#"{"subject":"$u@example.com","audience":"https://signin.aws.amazon.com/saml"}"#),
    call("sts", "GetCallerIdentity", Kind::Read, NULL, NULL),
    call("kms", "Decrypt", Kind::Read, r#"{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::$b/$k"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#, NULL).on(KEY, "arn:aws:kms:us-east-1:111122223333:key/$g"),
    call("kms", "GenerateDataKey", Kind::Read, r#"{"keySpec":"AES_256","keyId":"alias/$r","encryptionContext":{"aws:ebs:id":"vol-$h"}}"#, NULL).on(KEY, "arn:aws:kms:us-east-1:111122223333:key/$g"),
    call("kms", "DescribeKey", Kind::Read, r#"{"keyId":"alias/$r"}"#, NULL).on(KEY, "arn:aws:kms:us-east-1:111122223333:key/$g"),
    call("kms", "ScheduleKeyDeletion", Kind::Write, r#"{"keyId":"$g","pendingWindowInDays":7}"#, r#"{"keyId":"$g","keyState":"PendingDeletion"}"#).on(KEY, "arn:aws:kms:us-east-1:111122223333:key/$g"),
    call("lambda", "Invoke", Kind::DataWrite, r#"{"functionName":"arn:aws:lambda:us-east-1:111122223333:function:$f","sourceArn":"arn:aws:events:us-east-1:111122223333:rule/$f"}"#, NULL)
        .on("AWS::Lambda::Function", "arn:aws:lambda:us-east-1:111122223333:function:$f"),
    call("lambda", "UpdateFunctionCode20150331v2", Kind::Write, r#"{"functionName":"$f","publish":true,"dryRun":false}"#, r#"{"functionName":"$f","codeSize":$n,"runtime":"nodejs22.x","vpcConfig":{"subnetIds":[],"securityGroupIds":[]},"version":"$n"}"#),
    call("lambda", "CreateFunction20150331", Kind::Write, r#"{"functionName":"$f","runtime":"python3.13","role":"arn:aws:iam::111122223333:role/$r","environment":{}}"#, r#"{"functionName":"$f","codeSize":$n,"state":"Pending"}"#),
    call("lambda", "ListFunctions20150331", Kind::Read, NULL, NULL),
    call("cloudtrail", "LookupEvents", Kind::Read, r#"{"maxResults":50,"lookupAttributes":[{"attributeKey":"Username","attributeValue":"$u"}]}"#, NULL),
    call("cloudtrail", "StopLogging", Kind::Write, r#"{"name":"arn:aws:cloudtrail:us-east-1:111122223333:trail/demo"}"#, NULL),
    call("logs", "CreateLogStream", Kind::Write, r#"{"logGroupName":"/aws/lambda/$f","logStreamName":"[$$LATEST]$g"}"#, NULL),
];

/// What the event says of itself, beside what is made up.
pub(super) struct Entry {
    /// The `eventID`.
    pub(super) id: u128,
    /// The `eventTime`; it has whole seconds.
    pub(super) time: Timestamp,
}

/// Writes one event, compact as CloudTrail does.
pub(super) fn put_event(out: &mut String, entry: &Entry, calendar: &mut Calendar, rng: &mut Rng) {
    if rng.u8(..100) < 3 {
        return put_console_login(out, entry, calendar, rng);
    }
    #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
    let call = &CALLS[rng.usize(..CALLS.len())];
    let by_service = put_identity(out, call, rng);
    put_time(out, entry, calendar);
    put!(out, r#","eventSource":"{0}.amazonaws.com","eventName":"{1}""#, call.service, call.name);
    put_caller(out, by_service, rng);
    let failed = rng.u8(..100) < 8;
    if failed {
        put_error(out, call, rng);
    }
    out.push_str(r#","requestParameters":"#);
    expand(out, call.request, rng);
    out.push_str(r#","responseElements":"#);
    expand(out, if failed { NULL } else { call.response }, rng);
    if call.service == "s3" {
        let (sent, got) = (rng.u32(..90_000), rng.u16(..500));
        put!(out, r#","additionalEventData":{{"SignatureVersion":"SigV4","CipherSuite":"#);
        put!(out, r#""TLS_AES_128_GCM_SHA256","bytesTransferredIn":{got},"bytesTransferredOut""#);
        put!(out, r#":{sent},"AuthenticationMethod":"AuthHeader"}}"#);
    }
    put_tail(out, entry, call, rng);
}

/// `eventVersion` and `userIdentity`; says whether an AWS service is the caller.
fn put_identity(out: &mut String, call: &Call, rng: &mut Rng) -> bool {
    out.push_str(r#"{"eventVersion":"1.09","userIdentity":"#);
    let kind = rng.u8(..100);
    if call.name == "AssumeRole" && kind < 50 {
        out.push_str(r#"{"type":"AWSService","invokedBy":"lambda.amazonaws.com"}"#);
        return true;
    }
    match kind {
        0..45 => put_assumed_role(out, rng),
        45..95 => put_user(out, rng),
        _ => put_root(out),
    }
    false
}

fn put_user(out: &mut String, rng: &mut Rng) {
    let user = one_of(rng, &USERS);
    let name_hash = user.bytes().fold(7_u64, |hash, byte| hash * 131 + u64::from(byte));
    put!(out, r#"{{"type":"IAMUser","principalId":"AIDA{name_hash:016X}","arn":"arn:aws:iam::"#);
    put!(out, r#"{ACCOUNT}:user/{user}","accountId":"{ACCOUNT}","accessKeyId":"AKIA"#);
    put!(out, r#"{name_hash:016X}","userName":"{user}"}}"#);
}

fn put_assumed_role(out: &mut String, rng: &mut Rng) {
    let role = one_of(rng, &["deploy", "reader", "admin", "ci-runner"]);
    let user = one_of(rng, &USERS);
    put!(out, r#"{{"type":"AssumedRole","principalId":"AROAIOSFODNN7EXAMPLE:{user}","arn":"arn"#);
    put!(out, r#":aws:sts::{ACCOUNT}:assumed-role/{role}/{user}","accountId":"{ACCOUNT}","#);
    put!(out, r#""accessKeyId":"ASIA{:016X}","sessionContext":{{"sessionIssuer":"#, rng.u64(..));
    put!(out, r#"{{"type":"Role","principalId":"AROAIOSFODNN7EXAMPLE","arn":"arn:aws:iam::"#);
    put!(out, r#"{ACCOUNT}:role/{role}","accountId":"{ACCOUNT}","userName":"{role}"}},"#);
    put!(
        out,
        r#""webIdFederationData":{{}},"attributes":{{"mfaAuthenticated":"{}"}}}}}}"#,
        rng.bool()
    );
}

fn put_root(out: &mut String) {
    put!(out, r#"{{"type":"Root","principalId":"{ACCOUNT}","arn":"arn:aws:iam::{ACCOUNT}:root","#);
    put!(out, r#""accountId":"{ACCOUNT}","accessKeyId":""}}"#);
}

fn put_time(out: &mut String, entry: &Entry, calendar: &mut Calendar) {
    out.push_str(r#","eventTime":""#);
    calendar.put_iso(out, entry.time);
    out.push_str("Z\"");
}

fn put_caller(out: &mut String, by_service: bool, rng: &mut Rng) {
    put!(out, r#","awsRegion":"{REGION}","sourceIPAddress":""#);
    if by_service {
        return out.push_str(r#"lambda.amazonaws.com","userAgent":"lambda.amazonaws.com""#);
    }
    put_public_ip(out, rng);
    let agent = one_of(
        rng,
        &[
            "aws-cli/2.19.1 md/awscrt#0.23.0 ua/2.0 os/linux#6.8.0 md/arch#x86_64 lang/python#3.12.6",
            "Boto3/1.35.60 md/Botocore#1.35.60 ua/2.0 os/linux#5.10.227 md/arch#aarch64",
            "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 aws-sdk-go-v2/1.32.3 os/macos lang/go#1.23.1",
            "[S3Console/0.4, aws-internal/3 aws-sdk-java/1.12.750 Linux/5.10]",
            "console.amazonaws.com",
        ],
    );
    put!(out, r#"","userAgent":"{agent}""#);
}

fn put_error(out: &mut String, call: &Call, rng: &mut Rng) {
    let code = match (call.service, rng.u8(..4)) {
        ("ec2", 0..3) => "Client.UnauthorizedOperation",
        ("s3", 0) => "NoSuchBucket",
        ("iam", 0) => "NoSuchEntityException",
        (_, 3) => "ThrottlingException",
        _ => "AccessDenied",
    };
    put!(out, r#","errorCode":"{code}","errorMessage":"User is not allowed to perform: "#);
    put!(out, r#"{}:{} because no identity-based policy allows it""#, call.service, call.name);
}

fn put_tail(out: &mut String, entry: &Entry, call: &Call, rng: &mut Rng) {
    out.push_str(r#","requestID":""#);
    expand(out, "$g", rng);
    out.push_str(r#"","eventID":""#);
    put_guid(out, entry.id);
    put!(out, r#"","readOnly":{}"#, call.reads());
    if let Some((kind, arn)) = call.resource {
        put!(out, r#","resources":[{{"accountId":"{ACCOUNT}","type":"{kind}","ARN":""#);
        expand(out, arn, rng);
        out.push_str("\"}]");
    }
    put!(out, r#","eventType":"AwsApiCall","managementEvent":{}"#, !call.is_data());
    let category = if call.is_data() { "Data" } else { "Management" };
    put!(out, r#","recipientAccountId":"{ACCOUNT}","eventCategory":"{category}""#);
    put!(out, r#","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256""#);
    put!(out, r#","clientProvidedHostHeader":"{}.{REGION}.amazonaws.com"}}}}"#, call.service);
}

/// Somebody, now and then root, signs in at the console, or fails to.
fn put_console_login(out: &mut String, entry: &Entry, calendar: &mut Calendar, rng: &mut Rng) {
    out.push_str(r#"{"eventVersion":"1.09","userIdentity":"#);
    if rng.u8(..10) == 0 {
        put_root(out)
    } else {
        put_user(out, rng)
    }
    put_time(out, entry, calendar);
    out.push_str(r#","eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin""#);
    put_caller(out, false, rng);
    let failed = rng.u8(..10) < 2;
    if failed {
        out.push_str(r#","errorMessage":"Failed authentication""#);
    }
    let result = if failed { "Failure" } else { "Success" };
    put!(out, r#","requestParameters":null,"responseElements":{{"ConsoleLogin":"{result}"}}"#);
    out.push_str(r#","additionalEventData":{"LoginTo":"https://console.aws.amazon.com/","#);
    let used = if rng.bool() { "Yes" } else { "No" };
    put!(out, r#""MobileVersion":"No","MFAUsed":"{used}"}},"eventID":""#);
    put_guid(out, entry.id);
    put!(out, r#"","readOnly":false,"eventType":"AwsConsoleSignIn","managementEvent":true,"#);
    put!(out, r#""recipientAccountId":"{ACCOUNT}","eventCategory":"Management"}}"#);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn events() -> Vec<Value> {
        let (mut rng, mut calendar) = (Rng::with_seed(3), Calendar::default());
        let time = Timestamp(1_725_544_035_000);
        let event = |id| {
            let mut out = String::new();
            put_event(&mut out, &Entry { id, time }, &mut calendar, &mut rng);
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
        };
        (1..3000).map(event).collect()
    }

    fn values(events: &[Value], pointer: &str) -> HashSet<String> {
        events.iter().filter_map(|event| Some(event.pointer(pointer)?.as_str()?.into())).collect()
    }

    #[test]
    fn events_are_varied_and_name_themselves() {
        let events = events();
        assert_eq!(values(&events, "/eventName").len(), CALLS.len() + 1);
        assert_eq!(values(&events, "/eventID").len(), events.len());
        assert_eq!(values(&events, "/userIdentity/type").len(), 4);
        assert!(values(&events, "/errorCode").len() >= 5);
        for event in &events {
            assert_eq!(event["eventTime"], "2024-09-05T13:47:15Z");
            for field in ["eventVersion", "eventSource", "awsRegion", "sourceIPAddress"] {
                assert!(event[field].is_string(), "{event}");
            }
            assert!(
                !event.to_string().contains('$') || event["eventSource"] == "logs.amazonaws.com"
            );
        }
    }
}
