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
    time_limit_s: float = 600.0  # thrashing at the limit has no end of its own

    @property
    def planned(self) -> int:
        return self.rounds * self.workers * len(self.queries)


ALWAYS = (
    Scenario(
        name="service",
        title="One process: pyarrow joins, pandas merges; every result dropped",
        engine="arrow",
        queries=("join", "merge"),
        rounds=3,
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

# Driver and executor are one JVM, as in local mode.
HEAP_MIB, OFF_HEAP_MIB = 600, 400
SPARK_OPTIONS = {
    "spark.master": "local[2]",
    "spark.driver.memory": f"{HEAP_MIB}m",
    "spark.memory.offHeap.enabled": "true",
    "spark.memory.offHeap.size": f"{OFF_HEAP_MIB}m",
    "spark.plugins": "org.apache.spark.CometPlugin",
    "spark.shuffle.manager": "org.apache.spark.sql.comet.execution.shuffle.CometShuffleManager",
    "spark.comet.exec.replaceSortMergeJoin": "true",
    "spark.sql.shuffle.partitions": "4",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}

SPARK = (
    Scenario(
        name="spark",
        title="Spark with DataFusion Comet, one executor, sized by Spark's rule: TPC-H 3, 9, 18, 21",
        engine="spark",
        queries=("q3", "q9", "q18", "q21"),
        rounds=3,
        pause_s=1.0,
        # As Spark asks Kubernetes for it: heap, off-heap and spark.executor.memoryOverhead, at least 384 MiB.
        limit=(HEAP_MIB + OFF_HEAP_MIB + 384) * MIB,
    ),
)
