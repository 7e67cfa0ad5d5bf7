"""Signs requests again, by botocore: one JSON object a line in, one Authorization header a line out."""

import base64
import hashlib
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

for line in sys.stdin:
    seen = json.loads(line)
    credentials = Credentials(seen["key"], seen["secret"], seen["token"])
    auth = SigV4Auth(credentials, seen["service"], seen["region"])
    body, headers = base64.b64decode(seen["body"]), seen["headers"]
    request = AWSRequest(seen["method"], seen["url"], headers=headers, data=body)
    # Where it is present, the header is what gets signed: it must be true.
    hashed = headers.get("x-amz-content-sha256")
    assert hashed in (None, hashlib.sha256(body).hexdigest()), hashed
    request.context["timestamp"] = headers["x-amz-date"]
    names = auth.signed_headers(auth.headers_to_sign(request))
    text = auth.string_to_sign(request, auth.canonical_request(request))
    print(
        f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, "
        f"Signature={auth.signature(text, request)}"
    )
