"""The bus: the record published to Kafka as CloudEvents, and those who consume it there."""
