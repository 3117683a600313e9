"""The dead-letter topic: where letters are put when there is Kafka."""

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from infra.bus import topics
from infra.bus.connection import client
from infra.bus.dead_letters import Unpublished
from infra.bus.topics import Names
from infra.settings import Settings


class TopicPublisher:
    """The dead-letter topic of all groups, compacted; made when there is something to put in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = Names(settings.kafka_prefix).dead_letters
        self._producer: Producer | None = None
        self._refused: list[str] = []

    def put(self, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        if self._producer is None:
            self._producer = self._begin()
        self._producer.produce(self._topic, value=value, key=key, headers=list(headers), on_delivery=self._delivered)

    def _begin(self) -> Producer:
        try:
            topics.ensure(AdminClient(client(self._settings)), topics.dead_letters(self._settings))
        except KafkaException as e:
            raise Unpublished(e.args[0].name()) from e
        except topics.TopicUnfit as e:
            raise Unpublished(str(e)) from e
        return Producer(client(self._settings, **{"enable.idempotence": True, "acks": "all", "message.timeout.ms": 20_000}))

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error.name())

    def flush(self) -> None:
        left = 0 if self._producer is None else self._producer.flush(25)
        refused, self._refused = self._refused, []
        if left or refused:
            self._producer = None  # an idempotent producer that gave up on a message is of no use any more
            raise Unpublished(refused[0] if refused else "timeout")
