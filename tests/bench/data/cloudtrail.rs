//! CloudTrail events of many services: mostly some 1.1 KB as in real trails, and a few of up to 6 KB.

use std::fmt::Write as _;

use fastrand::Rng;

use super::text::{ACCOUNT, REGION, SECOND, expand, one_of, put, put_guid, put_time};

/// An API call: how often it is made, and what it asks and answers as templates of `text::expand`.
struct Call {
    weight: u16,
    service: &'static str,
    name: &'static str,
    is_read: bool,
    request: &'static str,
    response: &'static str,
    /// The `type` and `ARN` of the resource, where the event names one.
    resource: Option<(&'static str, &'static str)>,
}

const READ: bool = true;
const WRITE: bool = false;
const NULL: &str = "null";
const DONE: &str = r#"{"requestId":"$g","_return":true}"#;
const OBJECT: Option<(&str, &str)> = Some(("AWS::S3::Object", "arn:aws:s3:::$b/$k"));
const BUCKET: Option<(&str, &str)> = Some(("AWS::S3::Bucket", "arn:aws:s3:::$b"));
const KEY: Option<(&str, &str)> =
    Some(("AWS::KMS::Key", "arn:aws:kms:eu-west-1:111122223333:key/$g"));
const ROLE: Option<(&str, &str)> = Some(("AWS::IAM::Role", "arn:aws:iam::111122223333:role/$r"));

const fn call(
    (weight, is_read): (u16, bool),
    (service, name): (&'static str, &'static str),
    (request, response): (&'static str, &'static str),
    resource: Option<(&'static str, &'static str)>,
) -> Call {
    Call { weight, service, name, is_read, request, response, resource }
}

#[rustfmt::skip]
static CALLS: [Call; 24] = [
    call((90, READ), ("kms", "Decrypt"), (r#"{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::$b/$k"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#, NULL), KEY),
    call((40, READ), ("kms", "GenerateDataKey"), (r#"{"keySpec":"AES_256","keyId":"alias/$r","encryptionContext":{"aws:ebs:id":"vol-$h"}}"#, NULL), KEY),
    call((90, READ), ("s3", "GetObject"), (r#"{"bucketName":"$b","Host":"acme.s3.eu-west-1.amazonaws.com","key":"$k"}"#, NULL), OBJECT),
    call((60, WRITE), ("s3", "PutObject"), (r#"{"bucketName":"$b","key":"$k","x-amz-server-side-encryption":"aws:kms"}"#, r#"{"x-amz-server-side-encryption":"aws:kms","x-amz-version-id":"$h"}"#), OBJECT),
    call((20, READ), ("s3", "GetBucketAcl"), (r#"{"bucketName":"$b","Host":"$b.s3.amazonaws.com","acl":""}"#, NULL), BUCKET),
    call((90, READ), ("ec2", "DescribeInstances"), (r#"{"instancesSet":{"items":[{"instanceId":"i-$h"}]},"filterSet":{}}"#, NULL), None),
    call((40, READ), ("ec2", "DescribeSecurityGroups"), (r#"{"securityGroupSet":{},"filterSet":{"items":[{"name":"vpc-id","valueSet":{"items":[{"value":"vpc-$h"}]}}]}}"#, NULL), None),
    call((40, READ), ("ec2", "DescribeNetworkInterfaces"), (r#"{"maxResults":1000,"networkInterfaceIdSet":{},"filterSet":{"items":[{"name":"private-ip-address","valueSet":{"items":[{"value":"$p"},{"value":"$p"}]}},{"name":"status","valueSet":{"items":[{"value":"in-use"}]}}]}}"#, NULL), None),
    call((40, READ), ("ssm", "DescribeParameters"), (r#"{"maxResults":50,"parameterFilters":[{"key":"Path","option":"Recursive","values":["/acme/$r/$u"]}]}"#, NULL), None),
    call((40, WRITE), ("ssm", "UpdateInstanceInformation"), (r#"{"instanceId":"i-$h","agentVersion":"3.3.1611.0","agentStatus":"Active","platformType":"Linux","platformName":"Amazon Linux","platformVersion":"2023","iPAddress":"$p","computerName":"ip-$n.eu-west-1.compute.internal","agentName":"amazon-ssm-agent","availabilityZone":"eu-west-1$z","availabilityZoneId":"euw1-az1","sSMConnectionChannel":"ssmmessages"}"#, NULL), None),
    call((40, READ), ("secretsmanager", "GetSecretValue"), (r#"{"secretId":"arn:aws:secretsmanager:eu-west-1:111122223333:secret:$r/$u-$n"}"#, NULL), None),
    call((30, READ), ("iam", "ListAttachedRolePolicies"), (r#"{"roleName":"$r"}"#, NULL), None),
    call((30, READ), ("sts", "AssumeRole"), (r#"{"roleArn":"arn:aws:iam::111122223333:role/$r","roleSessionName":"$u-$n","durationSeconds":3600}"#, r#"{"credentials":{"accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionToken":"$t","expiration":"Nov 24, 2025, 5:21:35 PM"},"assumedRoleUser":{"assumedRoleId":"AROAIOSFODNN7EXAMPLE:$u-$n","arn":"arn:aws:sts::111122223333:assumed-role/$r/$u-$n"}}"#), ROLE),
    call((20, READ), ("sts", "GetCallerIdentity"), (NULL, NULL), None),
    call((40, READ), ("logs", "DescribeLogStreams"), (r#"{"logGroupName":"/aws/lambda/$u","orderBy":"LastEventTime","descending":true,"limit":50}"#, NULL), None),
    call((40, WRITE), ("logs", "CreateLogStream"), (r#"{"logGroupName":"/aws/lambda/$u","logStreamName":"2025/11/24/[LATEST]$g"}"#, NULL), None),
    call((40, READ), ("dynamodb", "DescribeTable"), (r#"{"tableName":"$u-$r"}"#, NULL), Some(("AWS::DynamoDB::Table", "arn:aws:dynamodb:eu-west-1:111122223333:table/$u-$r"))),
    call((30, READ), ("ecr", "BatchGetImage"), (r#"{"repositoryName":"acme/$u","registryId":"111122223333","imageIds":[{"imageDigest":"sha256:$h$h$h"}],"acceptedMediaTypes":["application/vnd.docker.distribution.manifest.v2+json","application/vnd.oci.image.manifest.v1+json","application/vnd.oci.image.index.v1+json"]}"#, NULL), Some(("AWS::ECR::Repository", "arn:aws:ecr:eu-west-1:111122223333:repository/acme/$u"))),
    call((10, WRITE), ("ec2", "AuthorizeSecurityGroupIngress"), (r#"{"groupId":"sg-$h","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"groups":{},"ipRanges":{"items":[{"cidrIp":"$a/32","description":"\"$u\" at home"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}"#, DONE), None),
    call((10, WRITE), ("ec2", "CreateSnapshot"), (r#"{"volumeId":"vol-$h","description":"nightly $n","tagSpecificationSet":{"items":[{"resourceType":"snapshot","tags":[{"key":"owner","value":"$u"},{"key":"team","value":"$r"}]}]}}"#, r#"{"requestId":"$g","snapshotId":"snap-$h","volumeId":"vol-$h","status":"pending","startTime":1764000000000,"progress":"","ownerId":"111122223333","volumeSize":$n,"description":"nightly","encrypted":true,"tagSet":{"items":[{"key":"owner","value":"$u"}]}}"#), None),
    call((5, WRITE), ("lambda", "UpdateFunctionConfiguration20150331v2"), (r#"{"functionName":"$u-$r","timeout":30,"memorySize":512,"environment":{},"vpcConfig":{"subnetIds":["subnet-$h","subnet-$h","subnet-$h"],"securityGroupIds":["sg-$h"]}}"#, r#"{"functionName":"$u-$r","functionArn":"arn:aws:lambda:eu-west-1:111122223333:function:$u-$r","runtime":"python3.13","role":"arn:aws:iam::111122223333:role/$r","handler":"app.handler","codeSize":$n,"description":"","timeout":30,"memorySize":512,"lastModified":"Nov 24, 2025, 4:12:11 PM","codeSha256":"$h$h$h=","version":"LATEST","vpcConfig":{"subnetIds":["subnet-$h","subnet-$h","subnet-$h"],"securityGroupIds":["sg-$h"],"vpcId":"vpc-$h","ipv6AllowedForDualStack":false},"environment":{},"tracingConfig":{"mode":"Active"},"revisionId":"$g","state":"Active","lastUpdateStatus":"InProgress","packageType":"Zip","architectures":["arm64"],"ephemeralStorage":{"size":512},"loggingConfig":{"logFormat":"Text","logGroup":"/aws/lambda/$u-$r"}}"#), Some(("AWS::Lambda::Function", "arn:aws:lambda:eu-west-1:111122223333:function:$u-$r"))),
    call((8, WRITE), ("s3", "PutBucketPolicy"), (r#"{"bucketName":"$b","Host":"$b.s3.eu-west-1.amazonaws.com","policy":"","bucketPolicy":{"Version":"2012-10-17","Statement":[{"Sid":"Read","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:role/$r","arn:aws:iam::444455556666:role/$r"]},"Action":["s3:GetObject","s3:GetObjectVersion","s3:ListBucket"],"Resource":["arn:aws:s3:::$b","arn:aws:s3:::$b/*"]},{"Sid":"TlsOnly","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::$b/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}}"#, NULL), BUCKET),
    call((6, WRITE), ("ec2", "RunInstances"), (r#"{"instancesSet":{"items":[{"imageId":"ami-$h","minCount":1,"maxCount":2,"keyName":"$u"}]},"instanceType":"m7g.large","blockDeviceMapping":{},"monitoring":{"enabled":false},"disableApiTermination":false,"disableApiStop":false,"clientToken":"$g","networkInterfaceSet":{"items":[{"networkInterfaceId":"eni-$h","deviceIndex":0,"deleteOnTermination":false}]},"iamInstanceProfile":{"name":"$r"},"ebsOptimized":false,"tagSpecificationSet":{"items":[{"resourceType":"instance","tags":[{"key":"team","value":"$r"}]}]},"creditSpecification":{"cpuCredits":"unlimited"},"hibernationOptions":{"configured":false}}"#,
        r#"{"requestId":"$g","reservationId":"r-$h","ownerId":"111122223333","groupSet":{},"instancesSet":{"items":[{"instanceId":"i-$h","imageId":"ami-$h","currentInstanceBootMode":"uefi","instanceState":{"code":0,"name":"pending"},"privateDnsName":"ip-$n.ec2.internal","keyName":"$u","amiLaunchIndex":0,"productCodes":{},"instanceType":"m7g.large","launchTime":1764000000000,"placement":{"availabilityZone":"eu-west-1$z","tenancy":"default"},"monitoring":{"state":"disabled"},"subnetId":"subnet-$h","vpcId":"vpc-$h","privateIpAddress":"$p","stateReason":{"code":"pending","message":"pending"},"architecture":"arm64","rootDeviceType":"ebs","rootDeviceName":"/dev/xvda","blockDeviceMapping":{},"virtualizationType":"hvm","hypervisor":"xen","tagSet":{"items":[{"key":"team","value":"$r"}]},"clientToken":"$g","groupSet":{"items":[{"groupId":"sg-$h","groupName":"$r"}]},"sourceDestCheck":true,"networkInterfaceSet":{"items":[{"networkInterfaceId":"eni-$h","subnetId":"subnet-$h","vpcId":"vpc-$h","ownerId":"111122223333","status":"in-use","macAddress":"12:b3:9a:0b:90:8b","privateIpAddress":"$p","privateDnsName":"ip-$n.ec2.internal","sourceDestCheck":true,"interfaceType":"interface","groupSet":{"items":[{"groupId":"sg-$h","groupName":"$r"}]},"attachment":{"attachmentId":"eni-attach-$h","deviceIndex":0,"networkCardIndex":0,"status":"attaching","attachTime":1764000000000,"deleteOnTermination":false},"privateIpAddressesSet":{"item":[{"privateIpAddress":"$p","privateDnsName":"ip-$n.ec2.internal","primary":true}]},"ipv6AddressesSet":{},"tagSet":{}}]},"iamInstanceProfile":{"arn":"arn:aws:iam::111122223333:instance-profile/$r","id":"AIPAIOSFODNN7EXAMPLE"},"ebsOptimized":false,"enaSupport":true,"cpuOptions":{"coreCount":2,"threadsPerCore":1},"capacityReservationSpecification":{"capacityReservationPreference":"open"},"enclaveOptions":{"enabled":false},"metadataOptions":{"state":"pending","httpTokens":"required","httpPutResponseHopLimit":2,"httpEndpoint":"enabled","httpProtocolIpv4":"enabled","instanceMetadataTags":"disabled"},"maintenanceOptions":{"autoRecovery":"default"},"privateDnsNameOptions":{"hostnameType":"ip-name","enableResourceNameDnsARecord":false,"enableResourceNameDnsAAAARecord":false}}]},"requesterId":"111122223333"}"#), None),
    call((30, READ), ("elasticloadbalancing", "DescribeTargetHealth"), (r#"{"targetGroupArn":"arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/$u/$h"}"#, NULL), None),
];

/// Writes an event. Returns the time of its log event: CloudTrail delivers minutes later.
pub(super) fn put(out: &mut String, time: i64, rng: &mut Rng) -> i64 {
    let call = draw(rng);
    put_identity(out, rng);
    out.push_str(r#","eventTime":""#);
    put_time(out, (time - rng.i64(60_000..600_000)) / SECOND * SECOND);
    // Whole seconds.
    out.truncate(out.len() - ".000".len());
    put!(out, r#"Z","eventSource":"{}.amazonaws.com","eventName":"{}""#, call.service, call.name);
    put!(out, r#","awsRegion":"{REGION}","sourceIPAddress":""#);
    expand(out, r#"$a","userAgent":""#, rng);
    out.push_str(one_of(rng, &AGENTS));
    out.push('"');
    let has_failed = rng.u8(..100) < 5;
    if has_failed {
        put_error(out, call, rng);
    }
    out.push_str(r#","requestParameters":"#);
    expand(out, call.request, rng);
    out.push_str(r#","responseElements":"#);
    expand(out, if has_failed { NULL } else { call.response }, rng);
    if call.service == "s3" {
        let additional = r#","additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":$n,"SSEApplied":"SSE_KMS","AuthenticationMethod":"AuthHeader","bytesTransferredOut":$n}"#;
        expand(out, additional, rng);
    }
    put_tail(out, call, rng);
    time
}

fn draw(rng: &mut Rng) -> &'static Call {
    let all: u16 = CALLS.iter().map(|call| call.weight).sum();
    let mut at = rng.u16(..all);
    for call in &CALLS {
        if at < call.weight {
            return call;
        }
        at -= call.weight;
    }
    &CALLS[0]
}

const AGENTS: [&str; 7] = [
    "aws-cli/2.19.1 md/awscrt#0.23.0 ua/2.0 os/linux#6.8.0 md/arch#x86_64 lang/python#3.12.6",
    "Boto3/1.35.60 md/Botocore#1.35.60 ua/2.0 os/linux#5.10.227 md/arch#aarch64",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io) terraform-provider-aws/5.76.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.32.3 os/linux lang/go#1.23.1",
    "[S3Console/0.4, aws-internal/3 aws-sdk-java/1.12.750 Linux/5.10.225]",
    "aws-sdk-java/2.29.6 Linux/6.1.112 OpenJDK_64-Bit_Server_VM/21.0.5",
    "amazon-ssm-agent/3.3.1611.0 (go1.22.7; linux; arm64)",
    "AWS Internal",
];

/// `eventVersion` and `userIdentity`.
fn put_identity(out: &mut String, rng: &mut Rng) {
    out.push_str(r#"{"eventVersion":"1.11","userIdentity":"#);
    let identity = match rng.u8(..100) {
        0..45 => {
            r#"{"type":"AssumedRole","principalId":"AROAIOSFODNN7EXAMPLE:i-$h","arn":"arn:aws:sts::111122223333:assumed-role/$r/i-$h","accountId":"111122223333","accessKeyId":"ASIA$n$n","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAIOSFODNN7EXAMPLE","arn":"arn:aws:iam::111122223333:role/$r","accountId":"111122223333","userName":"$r"},"webIdFederationData":{},"attributes":{"creationDate":"2025-11-24T15:42:02Z","mfaAuthenticated":"false"},"ec2RoleDelivery":"2.0"}}"#
        }
        45..85 => {
            r#"{"type":"IAMUser","principalId":"AIDAIOSFODNN7EXAMPLE","arn":"arn:aws:iam::111122223333:user/$u","accountId":"111122223333","accessKeyId":"AKIA$n$n","userName":"$u"}"#
        }
        _ => r#"{"type":"AWSService","invokedBy":"autoscaling.amazonaws.com"}"#,
    };
    expand(out, identity, rng);
}

fn put_error(out: &mut String, call: &Call, rng: &mut Rng) {
    if call.service == "ec2" {
        out.push_str(r#","errorCode":"Client.UnauthorizedOperation","errorMessage":"You are not "#);
        expand(out, "authorized. Encoded authorization failure message: $e\"", rng);
        return;
    }
    out.push_str(r#","errorCode":"AccessDenied","errorMessage":"User: arn:aws:iam::111122223333"#);
    expand(out, ":user/$u is not authorized to perform: ", rng);
    put!(out, "{}:{} because no identity-based policy allows it\"", call.service, call.name);
}

fn put_tail(out: &mut String, call: &Call, rng: &mut Rng) {
    out.push_str(r#","requestID":""#);
    put_guid(out, rng);
    out.push_str(r#"","eventID":""#);
    put_guid(out, rng);
    put!(out, r#"","readOnly":{}"#, call.is_read);
    if let Some((kind, arn)) = call.resource {
        put!(out, r#","resources":[{{"accountId":"{ACCOUNT}","type":"{kind}","ARN":""#);
        expand(out, arn, rng);
        out.push_str("\"}]");
    }
    put!(out, r#","eventType":"AwsApiCall","managementEvent":{}"#, call.service != "s3");
    put!(out, r#","recipientAccountId":"{ACCOUNT}","eventCategory":"Management""#);
    put!(out, r#","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256""#);
    put!(out, r#","clientProvidedHostHeader":"{}.{REGION}.amazonaws.com"}}}}"#, call.service);
}
