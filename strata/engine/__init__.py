"""Who may use the model when: jobs as data, a queue for each model, caches.

Imports the nouns, `runtime`, `weights`, `model`, `corpus` and `concepts`. Outside the command line
and notebooks it alone runs a model.

>>> from strata.engine import Job, Settings, open_engine
>>> engine = open_engine(Settings())
>>> job = Job(view="predictions.next_token", model="smollm2-135m",
...           prompt="The capital of France is", params={"position": 4, "k": 1})
>>> engine.run(job)["predicted"].tolist()
[' Paris']
"""

from collections.abc import Callable

from strata.engine.desk import Future
from strata.engine.job import Job
from strata.engine.limits import Limits
from strata.engine.local import LocalEngine
from strata.engine.owner import Status
from strata.engine.settings import Settings

__all__ = ["Future", "Job", "Limits", "LocalEngine", "Settings", "Status", "open_engine"]


def open_engine(
    settings: Settings | None = None, limits_of: Callable[[str], Limits | None] | None = None
) -> LocalEngine:
    """The engine that the settings ask for; models are loaded when they are first needed."""
    return LocalEngine(settings or Settings(), limits_of=limits_of or (lambda learner: None))
