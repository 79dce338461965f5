"""The part of `k8s/` that is written from the code: who may connect to whom, what NATS allows, what scales.

`python -m cli.kubernetes` writes it. Nothing that runs needs this package.
"""
