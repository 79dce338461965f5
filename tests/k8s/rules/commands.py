"""What runs in our image is there, and takes what it is told on its command line."""

from collections.abc import Iterator
from importlib.util import find_spec

from typer.testing import CliRunner

from cli.main import app
from tests.k8s.manifests import Container, Render

IMAGE = "ensemble"
COMMAND_LINE = "cli.main"


def programs_exist(render: Render) -> Iterator[str]:
    """Python is what the image runs; which module, the arguments say."""
    for container in of_our_image(render):
        match container.args:
            case ["-m", module, *_] if runnable(module):
                pass
            case args:
                yield f"{container}: args {args} name no module of ours"


def commands_exist(render: Render) -> Iterator[str]:
    """With all their options: to be asked for help, they have to be understood."""
    for container in of_our_image(render):
        match container.args:
            case ["-m", module, *args] if module == COMMAND_LINE:
                result = CliRunner().invoke(app, [*args, "--help"])
                if result.exit_code:
                    yield f"{container}: args are not understood: {result.stderr.strip()}"
            case _:
                pass


def of_our_image(render: Render) -> list[Container]:
    return [each for each in render.containers if repository(each.get("image", "")).split("/")[-1] == IMAGE]


def repository(image: str) -> str:
    """An image's name without its tag and digest."""
    host, slash, name = image.partition("@")[0].rpartition("/")
    return f"{host}{slash}{name.partition(':')[0]}"


def runnable(module: str) -> bool:
    """Whether `python -m` can run it: a package by its `__main__`."""
    try:
        spec = find_spec(module)
        return spec is not None and (not spec.submodule_search_locations or find_spec(f"{module}.__main__") is not None)
    except ModuleNotFoundError:
        return False
