.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PROTOS = $(shell find proto -name '*.proto')
SERVICES = $(shell find proto -name '*_service.proto')
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: proto
proto: $(BIN)/activate ## Generate gen/ from proto/
	rm -rf gen && mkdir gen
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=gen --mypy_out=gen $(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -Iproto --grpc_python_out=gen --mypy_grpc_out=only_async:gen $(SERVICES)
	find gen -type d -mindepth 1 -exec touch {}/__init__.py \;
