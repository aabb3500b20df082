"""What the demo runs: who works in the container, on what, and under which limit. Values only."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    engine: str  # of worker.py
    queries: tuple[str, ...]  # one turn of one worker
    rounds: int  # turns of each worker
    limit: int  # of the container, bytes
    workers: int = 1  # processes in the container; one works, the others wait for their turn
    pause_s: float = 0.0  # between two queries
    time_limit_s: float = 300.0  # thrashing at the limit has no end of its own

    @property
    def planned(self) -> int:
        return self.rounds * self.workers * len(self.queries)


ALWAYS = (
    Scenario(
        name="service",
        title="One process of pyarrow and pandas: join, aggregate, merge, groupby; every result dropped",
        engine="arrow",
        queries=("join", "aggregate", "merge", "groupby"),
        rounds=2,
        limit=4096 * MIB,
    ),
    Scenario(
        name="workers",
        title="Four pyarrow workers that take turns, as a pool in one pod: join, aggregate; every result dropped",
        engine="arrow",
        queries=("join", "aggregate"),
        rounds=1,
        workers=4,
        limit=3072 * MIB,
    ),
)


def _spark(limit: int) -> Scenario:
    return Scenario(
        name=f"spark-{limit // MIB}",
        title="Spark with DataFusion Comet, one executor, heap 600 MiB: join, aggregate, 2 s between queries",
        engine="spark",
        queries=("join", "aggregate"),
        rounds=2,
        pause_s=2.0,
        limit=limit,
    )


# Each of the two queries alone finishes in the larger one with every allocator.
SPARK = (_spark(1200 * MIB), _spark(1024 * MIB))

# Driver and executor are one JVM, as in local mode. The off-heap budget is larger than the container on purpose: then
# the engine's own accounting stops nothing, and the allocator alone decides what the container has to hold.
SPARK_OPTIONS = {
    "spark.master": "local[2]",
    "spark.driver.memory": "600m",
    "spark.memory.offHeap.enabled": "true",
    "spark.memory.offHeap.size": "1600m",
    "spark.plugins": "org.apache.spark.CometPlugin",
    "spark.shuffle.manager": "org.apache.spark.sql.comet.execution.shuffle.CometShuffleManager",
    "spark.comet.exec.replaceSortMergeJoin": "true",
    "spark.sql.shuffle.partitions": "4",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
