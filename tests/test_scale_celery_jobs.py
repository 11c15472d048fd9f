from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from pydantic import SecretStr

from platoon.documents.jobs import PRIORITIES, Order
from platoon.errors import InvalidSettings
from platoon.scale.celery_jobs import QUEUE, CeleryPublisher, celery_app, open_jobs, step
from platoon.scale.redis_jobs import RedisJobs
from platoon.settings import Settings
from tests.redis_server import RedisServer
from tests.running import wait_until

PATIENCE_S = 30


@pytest.fixture
def settings(redis_server: RedisServer) -> Iterator[Settings]:
    yield Settings(broker=SecretStr(redis_server.url))
    redis_server.forget()


@pytest.fixture
def jobs(settings: Settings) -> Iterator[RedisJobs]:
    with closing(open_jobs(settings)) as jobs:
        yield jobs


def test_the_highest_priority_is_celery_s_lowest_number() -> None:
    steps = [step(priority) for priority in PRIORITIES]
    assert (steps[0], steps[-1]) == (9, 0)
    assert steps == sorted(steps, reverse=True)


def test_messages_are_acknowledged_late_and_taken_one_at_a_time(settings: Settings) -> None:
    conf = celery_app(settings).conf
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier) == (True, 1)
    assert conf.broker_transport_options["queue_order_strategy"] == "priority"


def test_a_publisher_sends_a_message_for_each_job_and_the_urgent_ones_come_first(
    settings: Settings, jobs: RedisJobs, redis_server: RedisServer
) -> None:
    app = celery_app(settings)
    added = [jobs.add(Order(priority=priority), b"x") for priority in (0, -9, 9)]
    with closing(redis.Redis.from_url(redis_server.url)) as client, CeleryPublisher(jobs, app):
        wait_until(lambda: client.zcard("platoon:outbox") == 0, "all are announced", patience_s=PATIENCE_S)
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(QUEUE)
        taken = [queue.get(timeout=PATIENCE_S) for _ in added]
        for message in taken:
            message.ack()
        queue.close()
    assert [message.payload[0][0] for message in taken] == [added[index].id for index in (2, 0, 1)]
    assert jobs.unannounced() == []


def test_a_broker_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="redis"):
        Settings.load(broker="amqp://somewhere")
