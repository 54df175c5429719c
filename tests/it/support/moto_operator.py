"""A moto server on a free port, and the hand that sets it up and looks into it: one JSON command a line on stdin, one
answer a line on stdout. The first line out says the port. Ends with its stdin."""

import datetime
import json
import sys

import boto3
from moto import settings
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
URL = "http://%s:%d" % server.get_host_and_port()


def client(service):
    keys = {"aws_access_key_id": "operator", "aws_secret_access_key": "operator"}
    return boto3.client(service, region_name=REGION, endpoint_url=URL, **keys)


def policy(allow):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allow, "Resource": "*"}]})


def user(name, allow):
    """A user with a key."""
    iam = client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy(allow))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return [key["AccessKeyId"], key["SecretAccessKey"]]


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
