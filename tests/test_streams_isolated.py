from prometheus_client.parser import text_string_to_metric_families

from platoon.media.frame import Purpose
from platoon.metrics import Metrics
from platoon.streams.isolated import merge_expositions


def test_the_metrics_of_all_processes_are_added_up() -> None:
    one, two = Metrics(), Metrics()
    for metrics, frames in ((one, 3), (two, 4)):
        metrics.frames_analysed.labels("gate").inc(frames)
        metrics.batch_size.labels("text detection").observe(frames)
        metrics.pixels.add(Purpose.DETECT, 100)
    two.frames_analysed.labels('odd "name"\\').inc()
    merged = merge_expositions([one.exposition(), two.exposition()]).decode()
    samples = {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(merged)
        for sample in family.samples
    }
    assert samples[("platoon_frames_analysed_total", ("gate",))] == 7
    assert samples[("platoon_frames_analysed_total", ('odd "name"\\',))] == 1
    assert samples[("platoon_model_batch_size_count", ("text detection",))] == 2
    assert samples[("platoon_model_batch_size_bucket", ("+Inf", "text detection"))] == 2
    assert samples[("platoon_converted_bytes_total", ("detect",))] == 200
