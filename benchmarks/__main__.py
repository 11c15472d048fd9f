"""All benchmarks, one after the other: `python -m benchmarks`."""

from benchmarks import accuracy, attention, calibration, documents, quality, service, soak, streams, vehicles

streams.main()
attention.main()
service.main()
soak.main()
quality.main()
documents.main()
vehicles.main()
if accuracy.PHOTOGRAPHS.is_dir():
    accuracy.main(["--empty"])
    calibration.main()
