"""The inference protocol v2 (KServe, Triton) over HTTP and gRPC: our models for those who bring tensors of their own.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, with Triton's extension for
binary tensors. What such callers send travels in the same batches as everybody's.
"""
