# make demo and make test need Python >= 3.11 with venv and pip; everything else is installed here.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo check test test-all third-party lock docs bench-demo bench-explore bench-tools bench-prepare bench-train bench-infer bench-serve bench-native build clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/' | sort

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ste-ray needs Python >= 3.11, not " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0" -e ".[tools,serve,infer,gguf,dev]"
	touch $(STAMP)

venv: $(STAMP)  ## make .venv with the pinned versions

demo: venv  ## the whole pipeline on a local Ray, ends with the before/after table
	$(BIN)/ste-ray demo

check: venv  ## format, lint, types, import layers, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

# Two processes, a file in one of them: half of the time a test waits for Ray or for a server.
test: check  ## check, and every test not marked slow, root, gpu or net
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not root and not gpu and not net"

test-all: check  ## check, and every test
	$(BIN)/python -m pytest

# Servers nobody here wrote, for the contract tests of MCP and OpenAPI tools; without them those tests are skipped.
# Each Python server has an environment of its own; of the OpenAPI descriptions only GitHub's is kept.
THIRD_PARTY := .third-party/.installed-1
$(THIRD_PARTY):
	rm -rf .third-party && mkdir .third-party
	echo '{"private": true}' > .third-party/package.json
	cd .third-party && npm install --silent --no-fund --no-audit --save-exact \
	  @modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31 \
	  @modelcontextprotocol/server-memory@2026.8.31 @octokit/openapi@23.0.2
	find .third-party/node_modules/@octokit/openapi/generated -name '*.json' ! -name api.github.com.json -delete
	$(PYTHON) -m venv .third-party/time && .third-party/time/bin/pip install --quiet --disable-pip-version-check mcp-server-time==2026.10.19
	$(PYTHON) -m venv .third-party/git && .third-party/git/bin/pip install --quiet --disable-pip-version-check mcp-server-git==2026.10.19
	touch $@

# Those modules of vLLM that read replies, and its grammars; its tests are skipped where they cannot be had.
VLLM := .third-party/vllm/.installed-1
$(VLLM): $(THIRD_PARTY) tests/vllm_wheel.py
	rm -rf .third-party/vllm
	$(PYTHON) tests/vllm_wheel.py .third-party/vllm && $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps \
	  --target .third-party/vllm/grammars xgrammar==0.2.8 apache-tvm-ffi==0.1.15.post2 && touch $@ || echo "vLLM cannot be had here"

# llama.cpp as npm brings it, built; no scripts, which would fetch or build another. Its tests are skipped without it.
LLAMA_CPP := .third-party/llama-cpp/.installed-1
$(LLAMA_CPP): $(THIRD_PARTY)
	rm -rf .third-party/llama-cpp && mkdir .third-party/llama-cpp
	echo '{"private": true}' > .third-party/llama-cpp/package.json
	cd .third-party/llama-cpp && npm install --silent --no-fund --no-audit --save-exact --ignore-scripts --omit=optional \
	  node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1 && touch .installed-1 || echo "llama.cpp cannot be had here"

# Programs that read what exports write, without what they need beyond this project: their loaders and checkers are tried.
PEERS := .third-party/peers/.installed-1
$(PEERS): $(THIRD_PARTY)
	rm -rf .third-party/peers
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --target .third-party/peers \
	  llamafactory==0.9.5 axolotl==0.19.0 addict==2.4.0 bfcl-eval==2026.3.23 && touch $@ || echo "readers of exports cannot be had here"

# W&B and the client of MLflow, with what they need beyond this project.
TRACKERS := .third-party/trackers/.installed-1
$(TRACKERS): $(THIRD_PARTY)
	rm -rf .third-party/trackers
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --target .third-party/trackers \
	  wandb==0.31.0 mlflow-skinny==3.17.2 cachetools==7.3.3 cloudpickle==3.1.3 databricks-sdk==0.162.0 gitpython==3.2.1 gitdb==4.0.12 \
	  smmap==5.0.3 importlib_metadata==9.1.0 zipp==4.1.2 sqlparse==0.6.1 && touch $@ || echo "W&B and MLflow cannot be had here"

third-party: $(THIRD_PARTY) $(VLLM) $(LLAMA_CPP) $(PEERS) $(TRACKERS)  ## what is tested against: MCP servers, vLLM, llama.cpp, readers of exports, trackers; needs npm

LOCK := $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate $(addprefix --find-links ,$(PIP_FIND_LINKS))
lock: venv  ## the image's packages with their hashes, from constraints.txt
	$(LOCK) pyproject.toml --extra tools --extra infer --extra serve --extra gguf --extra gcs -c constraints.txt --no-emit-package torch -o docker/requirements.txt
	printf 'hatchling\nsetuptools\nwheel\n' | $(LOCK) - -o docker/requirements-build.txt

docs: venv  ## docs/configuration.md, from the sections of the configuration
	$(BIN)/python -m ste_ray.config.docs docs/configuration.md

bench-demo: venv  ## the demo with several seeds (SEEDS="7 8 9"): shares, needless calls, time
	$(BIN)/python tests/bench/demo.py $(SEEDS)

bench-explore: venv  ## speed, limits, cost, memory and plans of exploration (PARTS="wall rates cost plan scale", SEEDS)
	SEEDS="$(or $(SEEDS),7 8 9)" $(BIN)/python tests/bench/explore.py $(PARTS)

bench-tools: venv third-party  ## calls a second through each executor, beside the bare library
	$(BIN)/python tests/bench/tools.py $(PARTS)

bench-prepare: venv  ## rate, speed and memory of preparing (PARTS="rates scale")
	$(BIN)/python tests/bench/prepare.py $(PARTS)

bench-train: venv  ## speed and memory of training (PARTS="speed shared ranks scale gpu")
	$(BIN)/python tests/bench/train.py $(PARTS)

bench-infer: venv  ## decoding, scoring, retrieval, the report (PARTS="decoding scoring retrieval report", MODEL=folder)
	MODEL="$(MODEL)" $(BIN)/python tests/bench/infer.py $(PARTS)

bench-serve: venv  ## tokens/s through a server, beside decoding in one process (MODEL=folder, REQUESTS=32)
	MODEL="$(MODEL)" REQUESTS="$(or $(REQUESTS),32)" $(BIN)/python tests/bench/serve.py

bench-native: venv  ## toolkens beside native calls; served; exploring (PARTS="compare served explore", SEEDS, STEPS=128, TOOLS=3, MODEL=folder)
	$(BIN)/python tests/bench/native.py $(PARTS) --seeds $(or $(SEEDS),7 8 9) --steps $(or $(STEPS),128) --tools $(or $(TOOLS),3) \
	  $(if $(MODEL),--model $(MODEL))

build: venv  ## the wheel and the source distribution
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove what the commands above made, but no runs
	rm -rf .venv .third-party .models dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
