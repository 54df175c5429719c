"""A moto server on a free port, and the hand that sets it up and looks into it: one JSON command a line on stdin, one
answer a line on stdout. The first line out says the port. Ends with its stdin."""

import base64
import datetime
import json
import sys

import boto3
from moto import settings
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from moto.sts.models import sts_backends

REGION, OWN = "eu-west-1", "123456789012"
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
URL = "http://%s:%d" % server.get_host_and_port()


def client(service, account=OWN):
    keys = {"aws_access_key_id": "operator", "aws_secret_access_key": "operator"}
    if account != OWN:
        role = f"arn:aws:iam::{account}:role/operator"
        given = client("sts").assume_role(RoleArn=role, RoleSessionName="operator")["Credentials"]
        keys = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
    return boto3.client(service, region_name=REGION, endpoint_url=URL, **keys)


def policy(allow):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allow, "Resource": "*"}]})


def firehose(stream, account=OWN):
    """A delivery stream into a bucket of the same name."""
    place = {"LocationConstraint": REGION}
    client("s3", account).create_bucket(Bucket=stream, CreateBucketConfiguration=place)
    to = {"RoleARN": f"arn:aws:iam::{account}:role/firehose", "BucketARN": f"arn:aws:s3:::{stream}", "CompressionFormat": "UNCOMPRESSED"}
    client("firehose", account).create_delivery_stream(
        DeliveryStreamName=stream, DeliveryStreamType="DirectPut", ExtendedS3DestinationConfiguration=to
    )


def objects(bucket, account=OWN):
    """The content of every object."""
    keys = s3_backends[account]["aws"].buckets[bucket].keys.values()
    return [base64.b64encode(key.value).decode() for key in keys]


def user(name, allow):
    """A user with a key."""
    iam = client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy(allow))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return [key["AccessKeyId"], key["SecretAccessKey"]]


def role(name, allow, account):
    """A role that everybody may assume."""
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]}
    iam = client("iam", account)
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(allow))
    return made["Arn"]


def assumed(account):
    """Name and external id of each session of a role of this account."""
    return [[r.session_name, r.external_id] for r in sts_backends[account]["aws"].assumed_roles]
def metrics(namespace):
    """What CloudWatch holds of a namespace, over the last hour. Signatures are not checked any more."""
    settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    cloudwatch, now = client("cloudwatch"), datetime.datetime.now(datetime.timezone.utc)
    span = {"StartTime": now - datetime.timedelta(hours=1), "EndTime": now + datetime.timedelta(hours=1), "Period": 7200}
    found = []
    # It lists a metric once for each time it was sent.
    listed = cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
    for metric in {json.dumps(metric, sort_keys=True): metric for metric in listed}.values():
        points = cloudwatch.get_metric_statistics(
            **metric, **span, Statistics=["Sum", "SampleCount", "Minimum", "Maximum"]
        )["Datapoints"]
        found.append({
            "name": metric["MetricName"],
            "unit": points[0]["Unit"],
            "dimensions": sorted(f"{d['Name']}={d['Value']}" for d in metric["Dimensions"]),
            "sum": int(sum(p["Sum"] for p in points)),
            "count": int(sum(p["SampleCount"] for p in points)),
            "min": int(min(p["Minimum"] for p in points)),
            "max": int(max(p["Maximum"] for p in points)),
        })
    return found


def check_signatures():
    """From now on every request needs a good signature and a permission."""
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0


print(json.dumps(server.get_host_and_port()[1]), flush=True)
for line in sys.stdin:
    do, arguments = json.loads(line)
    print(json.dumps(globals()[do](**arguments)), flush=True)
