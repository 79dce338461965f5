from mesh.errors import Kind, Refusal, not_found, refused  # noqa: F401 - to be removed: import mesh.errors
