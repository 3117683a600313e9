"""Kafka, Elasticsearch and Neo4j on this machine, without containers: pinned, fetched once, started, watched, stopped.

EN1  Only files whose SHA-256 stands in pins.toml are ever run.
EN2  Whatever is started listens at 127.0.0.1 alone.
EN3  A process is stopped only when it is the very one that was started: its id, its start and its command are compared.
EN4  "Running" means that the engine answered on its own protocol, not that a port is open.

    engines = Engines(folder, cache)
    engines.up(("kafka",))  ->  {"CHANCERY_KAFKA_BOOTSTRAP": "127.0.0.1:40123"}
    engines.down()
"""
