"""A small Kubernetes: it runs rendered manifests, each pod a container with a network address of its own.

It knows what these manifests use, and does it as a kubelet and the controllers do: probes, endpoints and their DNS, the
end of a pod, rolling updates, network policies. There is one node, this machine, and no API server.
"""
