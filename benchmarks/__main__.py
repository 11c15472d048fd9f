"""All benchmarks, one after the other: `python -m benchmarks`."""

from benchmarks import documents, quality, service, soak, streams

streams.main()
service.main()
soak.main()
quality.main()
documents.main()
