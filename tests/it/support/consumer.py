"""Opens aggregated records with the aws_kinesis_agg library: one JSON object a line in, one a line out for each user record."""

import base64
import collections.abc  # the library uses it without importing it
import json
import sys

from aws_kinesis_agg.deaggregator import iter_deaggregate_records

for number, line in enumerate(sys.stdin):
    stored = json.loads(line)
    event = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": str(number),
            "approximateArrivalTimestamp": 0,
            "partitionKey": stored["key"],
            "data": stored["data"],
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": str(number),
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "",
        "awsRegion": "",
        "eventSourceARN": "",
    }
    for record in iter_deaggregate_records([event]):
        record = record["kinesis"]
        data = record["data"]
        print(json.dumps({
            "stored": number,
            "aggregated": record.get("aggregated", False),
            "key": record["partitionKey"],
            "hash": record.get("explicitHashKey"),
            "data": data if isinstance(data, str) else data.decode(),
        }))
