"""No dependency may be older than the fix of a fault that is known."""

from tests.campaign.audit import ADVISORIES, lower_bounds, problems


def test_lower_bounds_and_installed_versions_exclude_known_faults():
    assert problems() == []


def test_the_list_is_about_what_the_project_names():
    bounds = lower_bounds()
    assert {"torch", "torchvision", "pillow", "numpy", "jinja2"} <= set(bounds)
    assert all(bounds[name] for name in bounds if not name.endswith("-stubs")), bounds
    assert {advisory.package for advisory in ADVISORIES} - set(bounds) <= {"waitress"}
