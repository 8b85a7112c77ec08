# `make demo` and `make test` do all the set-up a fresh machine needs; see README.md.
.PHONY: setup demo test test-clusters classes check format pin docs clean
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLASSES := $(VENV)/spark-classes.jsa

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh $(VENV)
	@touch $@

demo: setup
	@$(BIN)/hilum demo --out demo

classes: $(CLASSES)

# Java starts in half the time with an archive of Spark's classes; nothing fails without one.
$(CLASSES): $(STAMP)
	@$(BIN)/python scripts/spark_classes.py $@ || echo "make: tests go on without $@" >&2

test: setup $(CLASSES)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Standalone workers, YARN, hosts of their own (root, iproute2) and kills, which `make test` leaves out.
test-clusters: setup $(CLASSES)
	@HILUM_CLUSTER_TESTS=1 $(BIN)/python -m pytest -m cluster -p no:randomly

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/reference.py --check

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup
	@$(BIN)/python scripts/reference.py

# New versions of everything: name==version lines only, no registry named.
pin: setup
	@$(BIN)/uv pip compile -q --upgrade --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links requirements.in -o requirements.txt

clean:
	@rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .hypothesis
