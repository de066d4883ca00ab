# Every target makes the environment first where it is missing. Nothing is installed outside .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.installed

.PHONY: demo test test-all check check-security format bench clean

demo: $(ENVIRONMENT) ## the whole line on a corpus that it makes itself
	$(BIN)/serval demo

test: $(ENVIRONMENT) ## every test but the slow ones, the files shared out to two processes
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist loadfile

test-all: $(ENVIRONMENT) ## every test
	$(BIN)/pytest

check: $(ENVIRONMENT) ## style, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture

# Tools of its own, apart from the environment that they look at. --strict: what the service does not
# know fails, for an audit that skips packages says nothing about them.
check-security: $(ENVIRONMENT) ## a list of all that is installed (SBOM), and known advisories
	$(PYTHON) -m venv build/security
	build/security/bin/pip install --quiet pip-audit==2.10.1 cyclonedx-bom==7.5.0
	build/security/bin/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-file build/serval.cdx.json
	build/security/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt || \
	  { echo "check-security: advisories were found, or PyPI's service of advisories was not reached: see above"; exit 1; }

bench: $(ENVIRONMENT) ## the claims of speed, on a quiet machine: an hour; results go to benchmarks/results
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/scoring.py --save scoring.md
	$(BIN)/python benchmarks/overhead.py --save overhead.md
	$(BIN)/python benchmarks/pack.py --save pack.md
	$(BIN)/python benchmarks/planning.py --save planning.md
	$(BIN)/python benchmarks/straggler.py --save straggler.md
	$(BIN)/python benchmarks/onnx_files.py --save onnx_files.md
	$(BIN)/python benchmarks/augment.py --save augment.md
	$(BIN)/python benchmarks/conditions.py --save conditions.md
	$(BIN)/python benchmarks/audit.py --save audit.md

format: $(ENVIRONMENT)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build serval-demo mlflow.db mlartifacts

$(ENVIRONMENT): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demo,probe,s3,vad,onnx,dev]'
	touch $@
