.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir
PROTOS = $(shell find proto -name '*.proto' | sort)
SERVICES = $(shell find proto -name '*_service.proto' | sort)
CODE := mesh services orchestrator sandbox collector catalogue cli benchmarks tests

export PATH := $(CURDIR)/$(BIN):$(PATH)
# Nothing is written outside the checkout.
export BUF_CACHE_DIR := $(CURDIR)/.cache/buf
export TMPDIR := $(shell mkdir -p .cache/tmp && cd .cache/tmp && pwd)

.PHONY: help
help: ## Print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What it needs to run, and what it needs to be worked on: each installed once, and again when its lock changes.
.venv/runtime: requirements/runtime.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "Installing what Ensemble needs into .venv"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --require-hashes -r requirements/runtime.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/runtime requirements/dev.txt
	@echo "Installing what its tests and checks need into .venv"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: demo
demo: .venv/runtime ## Real orders through six services, both ways, failures included; under a minute
	@$(BIN)/ensemble demo

.PHONY: up
up: .venv/runtime ## Start everything on this machine; Ctrl-C stops it
	@$(BIN)/ensemble up

.PHONY: setup
setup: .venv/dev ## Install everything into .venv

.PHONY: test
test: check k8s-check simulate integration scenarios ## Everything that is tested

.PHONY: check
check: format-check lint types imports proto-check catalogue-check unit ## What must hold before a commit; under a minute

.PHONY: format
format: .venv/dev ## Format the code and the contracts
	$(BIN)/ruff check --quiet --fix-only $(CODE)
	$(BIN)/ruff format --quiet $(CODE)
	$(BIN)/buf format -w proto

.PHONY: format-check
format-check: .venv/dev
	$(BIN)/ruff format --check --quiet $(CODE)
	$(BIN)/buf format --diff --exit-code proto

.PHONY: lint
lint: .venv/dev ## Look for mistakes
	$(BIN)/ruff check $(CODE)

.PHONY: types
types: .venv/dev ## Check the types, strictly
	$(BIN)/basedpyright

.PHONY: imports
imports: .venv/dev ## Check who may import whom
	$(BIN)/lint-imports --no-cache

# $(call generate,DIR) writes what is generated from proto/ into DIR.
define generate
	rm -rf $(1) && mkdir -p $(1)
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -Iproto --grpc_python_out=$(1) --mypy_grpc_out=quiet,only_async:$(1) $(SERVICES)
	find $(1)/* -type d -exec touch {}/__init__.py \;
endef

.PHONY: proto
proto: .venv/dev ## Generate gen/ from proto/
	$(call generate,gen)

.PHONY: proto-check
proto-check: .venv/dev ## Lint the contracts; check that gen/ is theirs and that nothing breaks their users
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against ".git#ref=$$(git rev-parse --quiet --verify HEAD~1 || echo HEAD),subdir=proto"
	$(call generate,.cache/gen)
	diff --recursive --exclude=__pycache__ gen .cache/gen

.PHONY: catalogue
catalogue: .venv/dev ## Generate the catalogue of facts and docs/events/ from the code
	$(BIN)/python -m catalogue

.PHONY: catalogue-check
catalogue-check: .venv/dev
	$(BIN)/python -m catalogue --check

.PHONY: unit
unit: .venv/dev ## Tests without I/O
	$(BIN)/pytest -q tests/unit

.PHONY: alerts
alerts: .venv/dev ## Check the alert rules with promtool, and what alerts and dashboards ask for
	$(BIN)/pytest -q tests/unit/test_alerts.py tests/unit/test_monitoring.py

KUSTOMIZE := $(if $(shell command -v kubectl),kubectl kustomize,kustomize build)

.PHONY: k8s-render
k8s-render: .venv/dev ## Write what manifests take from the code, and what a cluster gets, into .cache/k8s/OVERLAY.yaml
	$(BIN)/python -m cli.kubernetes
	mkdir -p .cache/k8s
	for each in local production; do $(KUSTOMIZE) k8s/overlays/$$each > .cache/k8s/$$each.yaml || exit; done

.PHONY: k8s-check
k8s-check: .venv/dev ## Check the manifests: schemas, policies, addresses, settings, network; every overlay and component
	$(BIN)/python -m cli.kubernetes --check
	$(BIN)/pytest -q tests/k8s

.PHONY: simulate
simulate: .venv/dev ## Replicas, store and network in virtual time, with faults: a short version; or SEEDS=10000; BUG= plants one
	$(if $(SEEDS)$(BUG),$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),2000) $(if $(BUG),--bug $(BUG)),$(BIN)/pytest -q tests/simulation)

.PHONY: integration
integration: .venv/dev ## Tests against real PostgreSQL, NATS and the outside world, and of what the image holds
	$(BIN)/pytest -q tests/conformance tests/integration tests/image

.PHONY: permute
permute: CASES ?= 20000
permute: SEED := $(or $(SEED),$(shell date +%s))
permute: .venv/dev ## Choreographed orders whose facts arrive in any order, late and twice: CASES=20000; SEED= says which
	PERMUTE_CASES=$(CASES) PERMUTE_SEED=$(SEED) $(BIN)/pytest -q --show-capture=no tests/integration/test_choreography.py -k however

.PHONY: scenarios
scenarios: .venv/dev ## Tests against the whole of `ensemble up`: every outcome in both modes, faults, documents
	$(BIN)/pytest -q tests/scenarios

.PHONY: traces
traces: .venv/dev ## Draw the expected trees of spans in tests/traces anew, from a run; read the difference before you keep it
	TRACES=rewrite $(BIN)/pytest -q tests/scenarios/test_trace_shapes.py tests/scenarios/test_trace_losses.py

.PHONY: pictures
pictures: .venv/runtime ## Draw docs/pictures anew, of orders in a stack of their own
	$(BIN)/python -m cli.waterfall.pictures docs/pictures

.PHONY: chaos
chaos: MINUTES ?= 10
chaos: SEED ?= 1
chaos: .venv/dev ## Torment the orchestrator, then the choreography, for MINUTES=10 each; SEED=1 says whom and how
	CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) $(BIN)/pytest -q -s tests/scenarios/test_orchestrator_faults.py tests/scenarios/test_choreography_faults.py

.PHONY: bench
bench: .venv/runtime ## Measure both ways: against the raw chain, among 100,000 waiting sagas, when killed, traced; ten minutes
	@$(BIN)/python -m benchmarks

.PHONY: image
image: ## Build the container image, ensemble:dev, for this machine
	docker build --build-arg REVISION=$$(git rev-parse HEAD) --tag ensemble:dev .

.PHONY: release
release: ## Build the image for amd64 and arm64, push it and sign it: IMAGE=registry/name VERSION=1.2.3; docs/releasing.md
	$(if $(and $(IMAGE),$(VERSION)),,$(error make release IMAGE=registry/name VERSION=1.2.3))
	docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) \
		--tag $(IMAGE):$(VERSION) --push --metadata-file .cache/release.json .
	digest=$$($(PYTHON) -c 'import json; print(json.load(open(".cache/release.json"))["containerimage.digest"])') && \
		cosign sign --yes --recursive $(IMAGE)@$$digest && echo $(IMAGE)@$$digest

# The name of the cluster is that in k8s/kind/cluster.yaml.
KUBECTL := kubectl --context kind-ensemble --namespace ensemble
GIVEN := .cache/kind/ensemble.json

.PHONY: kind-up
kind-up: image ## The shop on Kubernetes, in Docker, by kind: four nodes; again to bring it up to date
	kind get clusters --quiet | grep -qx ensemble || kind create cluster --config k8s/kind/cluster.yaml --wait 5m
	kind load docker-image --name ensemble ensemble:dev
	@# A pod takes no notice of another image by the same name.
	$(KUBECTL) get deployments,statefulsets --selector 'app.kubernetes.io/component in (service,outside)' --output name | \
		xargs -r $(KUBECTL) rollout restart
	$(KUBECTL) delete jobs --all
	$(KUBECTL) apply --kustomize k8s/overlays/local
	$(KUBECTL) wait --for condition=complete jobs --all --timeout 10m
	for each in $$($(KUBECTL) get deployments,statefulsets --output name); do \
		$(KUBECTL) rollout status --timeout 10m $$each || exit; done

.PHONY: kind-test
kind-test: .venv/dev ## The scenarios, played in the shop of `make kind-up`
	$(BIN)/python -m tests.forwarded --context kind-ensemble --namespace ensemble --write $(GIVEN) -- \
		$(BIN)/pytest -q tests/scenarios --shop $(GIVEN)

.PHONY: kind-down
kind-down: ## Delete the cluster of `make kind-up`
	kind delete cluster --name ensemble

.PHONY: lock
lock: .venv/dev ## Bring the locked dependencies up to date
	$(LOCK) --upgrade pyproject.toml --output-file requirements/image.txt
	$(LOCK) --upgrade pyproject.toml --extra local --group build --constraint requirements/image.txt --output-file requirements/runtime.txt
	$(LOCK) --upgrade pyproject.toml --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt

.PHONY: clean
clean: ## Remove what was installed and what was run
	rm -rf .venv .cache .ensemble .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
