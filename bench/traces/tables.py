"""Tables that the recorded queries work on, from fixed seeds."""

import pyarrow
import pyarrow.compute as compute

ORDERS, CUSTOMERS = 600_000, 5_000


def numbers(count, below, seed):
    return compute.cast(compute.floor(compute.multiply(compute.random(count, initializer=seed), below)), pyarrow.int64())


def orders():
    text = compute.binary_join_element_wise("order", compute.cast(numbers(ORDERS, 1 << 30, 3), pyarrow.string()), " ")
    return pyarrow.table({"key": numbers(ORDERS, ORDERS // 4, 1), "customer": numbers(ORDERS, CUSTOMERS, 2),
                          "price": compute.random(ORDERS, initializer=4), "note": text})


def customers():
    ids = pyarrow.array(range(CUSTOMERS), pyarrow.int64())
    return pyarrow.table({"customer": ids, "name": compute.binary_repeat("customer ", compute.add(compute.bit_wise_and(ids, 7), 1))})
