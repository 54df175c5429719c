"""Runs the function of docs/DEDUPLICATION.md over stored records, all of them twice, next to a DynamoDB of moto.

One JSON object a line in, as for consumer.py; each item of the table out, one JSON object a line.
"""

import collections.abc  # aws_kinesis_agg uses it without importing it
import json
import os
import re
import sys

os.environ.update(TABLE="lines", AWS_DEFAULT_REGION="eu-west-1", AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="secret")

import boto3
from moto import mock_aws

with open(sys.argv[1], encoding="utf-8") as document:
    [code] = re.findall(r"```python\n(.*?)```", document.read(), re.DOTALL)
envelope = {
    "kinesisSchemaVersion": "1.0",
    "approximateArrivalTimestamp": 0,
}
around = dict.fromkeys(
    ["eventSource", "eventVersion", "eventID", "eventName", "invokeIdentityArn", "awsRegion", "eventSourceARN"], ""
)
events = []
for number, line in enumerate(sys.stdin):
    stored = json.loads(line)
    record = {"sequenceNumber": str(number), "partitionKey": stored["key"], "data": stored["data"], **envelope}
    events.append({"kinesis": record, **around})
with mock_aws():
    table = boto3.resource("dynamodb").create_table(
        TableName="lines",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    function = {}
    exec(compile(code, sys.argv[1], "exec"), function)
    for event in [events, events]:
        function["handler"]({"Records": event}, None)
    for item in table.scan()["Items"]:
        print(json.dumps({"id": item["id"], "line": item["line"]}))
