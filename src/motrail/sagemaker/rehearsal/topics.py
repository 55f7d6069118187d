"""SNS: what is published is kept; there is nobody here to send it to."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from motrail.sagemaker.rehearsal.shelf import now
from motrail.sagemaker.rehearsal.site import page, refuse

if TYPE_CHECKING:
    from motrail.sagemaker.rehearsal.desk import Tags
    from motrail.sagemaker.rehearsal.shelf import Record
    from motrail.sagemaker.rehearsal.site import Operations, Site


class Topics:
    """The topics of a rehearsal."""

    def __init__(self, site: Site, tags: Tags) -> None:
        self._site = site
        self._tags = tags
        self._path = site.folder / "state" / "messages.jsonl"
        self.records = site.shelf("topics")
        self.subscriptions = site.shelf("subscriptions")
        self.messages: list[dict[str, Any]] = []
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            self.messages += [json.loads(line) for line in lines]

    def operations(self) -> Operations:
        """By their names."""
        return {
            "CreateTopic": self._create,
            "DeleteTopic": self._delete,
            "ListTopics": self._list,
            "GetTopicAttributes": self._attributes,
            "Publish": self._publish,
            "Subscribe": self._subscribe,
            "Unsubscribe": self._unsubscribe,
            "ListSubscriptionsByTopic": self._list_subscriptions,
            "ListTagsForResource": lambda given: {"Tags": self._tags.get(given["ResourceArn"])},
        }

    def create(self, name: str, tags: list[Record]) -> str:
        """Make a topic, or find it; gives its ARN."""
        arn = self._site.arn("sns", name)
        if arn not in self.records:
            self.records.put(arn, {"TopicArn": arn})
            self._tags.put(arn, tags)
        return arn

    def publish(self, arn: str, message: str, subject: str | None = None) -> str:
        """Keep a message; gives its id.

        Raises:
            CloudError: There is no such topic.
        """
        self._known(arn)
        entry: dict[str, Any] = {
            "Type": "Notification",
            "MessageId": str(uuid.uuid4()),
            "TopicArn": arn,
            "Message": message,
            "Timestamp": now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if subject is not None:
            entry["Subject"] = subject
        with self._site.lock:
            self.messages.append(entry)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        return str(entry["MessageId"])

    def remove(self, arn: str) -> None:
        """Remove a topic and its subscriptions, if it is there."""
        self.records.remove(arn)
        self._tags.remove(arn)
        for each in self.subscriptions.values():
            if each["TopicArn"] == arn:
                self.subscriptions.remove(each["SubscriptionArn"])

    def _known(self, arn: str) -> None:
        if arn not in self.records:
            refuse("NotFound", "Topic does not exist")

    def _create(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"TopicArn": self.create(given["Name"], given.get("Tags", []))}

    def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        self.remove(given["TopicArn"])
        return {}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        return page([{"TopicArn": arn} for arn in self.records.names()], given, "Topics")

    def _attributes(self, given: dict[str, Any]) -> dict[str, Any]:
        self._known(given["TopicArn"])
        return {"Attributes": {"TopicArn": given["TopicArn"]}}

    def _publish(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "MessageId": self.publish(given["TopicArn"], given["Message"], given.get("Subject"))
        }

    def _subscribe(self, given: dict[str, Any]) -> dict[str, Any]:
        self._known(given["TopicArn"])
        arn = f"{given['TopicArn']}:{uuid.uuid4()}"
        kept = {key: given[key] for key in ("TopicArn", "Protocol", "Endpoint") if key in given}
        self.subscriptions.put(arn, kept | {"SubscriptionArn": arn})
        waits = given["Protocol"] in {"email", "email-json", "http", "https"}
        return {"SubscriptionArn": "pending confirmation" if waits else arn}

    def _unsubscribe(self, given: dict[str, Any]) -> dict[str, Any]:
        self.subscriptions.remove(given["SubscriptionArn"])
        return {}

    def _list_subscriptions(self, given: dict[str, Any]) -> dict[str, Any]:
        self._known(given["TopicArn"])
        found = [
            each for each in self.subscriptions.values() if each["TopicArn"] == given["TopicArn"]
        ]
        return page(found, given, "Subscriptions")
