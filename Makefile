# One command each: see the demo, run the tests, check the code, measure.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test clients triton vlm gstreamer paddle torch s3 check bench lock system-packages clean
.DEFAULT_GOAL := demo

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Platoon needs Python 3.11 or newer; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	touch $@

demo: $(VENV)/run.stamp
	$(BIN)/platoon demo

# Two at a time, a file each, in their order: the slowest, with real processes, come first. Most of them wait for one.
test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 30

clients: $(VENV)-clients/stamp  ## programs of others that some tests let call us; half a gigabyte

$(VENV)-clients/stamp: requirements/clients.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/clients.txt
	touch $@

triton: $(VENV)/run.stamp  ## a real Triton for tests; 300 MB; needs Debian's python3
	PIP="$(BIN)/python -m pip" scripts/triton-env

vlm: $(VENV)/run.stamp  ## a real OpenAI-compatible server for tests; 1.2 GB
	PIP="$(BIN)/python -m pip" PYTHON="$(PYTHON)" scripts/vlm-env

gstreamer: $(VENV)/run.stamp  ## PyGObject for tests of cameras by GStreamer; needs make system-packages; 10 MB
	PYTHON="$(BIN)/python" scripts/gstreamer-env

paddle: $(VENV)/dev.stamp  ## Paddle's own engine for tests; 750 MB
	PYTHON="$(BIN)/python" scripts/paddle-env

torch: $(VENV)/run.stamp  ## PyTorch for CPUs, over the ordinary environment, for tests; 0.9 GB
	ORDINARY="$(BIN)/python" scripts/torch-env

s3: $(VENV)/run.stamp  ## a real S3 server for tests; 150 MB
	PIP="$(BIN)/python -m pip" PYTHON="$(PYTHON)" scripts/s3-env

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks

system-packages:  ## what the tests use from Debian (a browser, Redis, GStreamer); needs root
	scripts/system-packages

lock: $(VENV)/dev.stamp  ## resolve the requirements anew, hashed and without index addresses
	scripts/lock

clean:
	rm -rf $(VENV) $(VENV)-clients .venv-triton .venv-vlm .venv-gstreamer .venv-paddle .venv-torch .venv-s3 build dist
