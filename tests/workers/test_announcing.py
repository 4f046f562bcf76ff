"""`changed()` of a resource reaches the resource of the same path in other processes, and comes back from none."""

from __future__ import annotations

from securecoap import ObservableResource, Resource, Site
from securecoap.workers.announcing import Announcing


class Counted(ObservableResource):
    elsewhere = 0

    def changed_elsewhere(self) -> None:
        self.elsewhere += 1
        super().changed_elsewhere()


def make(announce: object) -> tuple[Announcing, dict[str, Counted]]:
    resources = {path: Counted() for path in ("/a", "/b/{name}", "/in/c", "/")}
    inner, site = Site(), Site()
    for path, resource in resources.items():
        if path.startswith("/in"):
            inner.add(path.removeprefix("/in"), resource)
        else:
            site.add(path, resource)
    site.add("/in", inner)
    site.add("/plain", Resource())
    return Announcing(site, announce), resources  # type: ignore[arg-type]  # it is callable


def test_each_is_known_by_its_path() -> None:
    told: list[str] = []
    _, here = make(told.append)
    there, others = make(lambda _: None)
    for path, resource in here.items():
        told.clear()
        resource.changed()
        assert len(told) == 1
        there.announced(told[0])
        assert others[path].elsewhere == 1
        assert resource.elsewhere == 0


def test_what_was_told_is_not_told_again() -> None:
    told: list[str] = []
    announcing, here = make(told.append)
    announcing.announced("/a")
    assert here["/a"].elsewhere == 1
    assert not told


def test_a_path_that_is_not_here() -> None:
    announcing, here = make(lambda _: None)
    announcing.announced("/nowhere")
    assert not any(resource.elsewhere for resource in here.values())


def test_alone_nobody_is_told() -> None:
    resource = Counted()
    resource.changed()
    assert resource.elsewhere == 0


def test_a_site_that_is_one_resource() -> None:
    Announcing(Counted(), lambda _: None)
