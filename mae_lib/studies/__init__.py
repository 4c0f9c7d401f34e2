"""One object a measurement: a setting goes in, a result that is found or computed comes out.

This is what a chapter calls. A study ties data, model, training and evaluation together and keeps
what it finds in :mod:`mae_lib.runs`; the rooms below know nothing of each other's results.
"""

from mae_lib.studies.plan import ARMS, Plan
from mae_lib.studies.pretraining import PRETRAINING, masks, model, network
from mae_lib.studies.probing import LINEAR_PROBE, PIXEL_PROBE
from mae_lib.studies.program import program
from mae_lib.studies.reconstruction import FLOORS, RECONSTRUCTION
from mae_lib.studies.sets import images
from mae_lib.studies.settings import Setting, grid, one_each, untrained
from mae_lib.studies.study import Study, Sweep, records, sweep

ALL = (PRETRAINING, RECONSTRUCTION, FLOORS, LINEAR_PROBE, PIXEL_PROBE)

__all__ = ["ALL", "ARMS", "FLOORS", "LINEAR_PROBE", "PIXEL_PROBE", "PRETRAINING",
           "RECONSTRUCTION", "Plan", "Setting", "Study", "Sweep", "grid", "images", "masks",
           "model", "network", "one_each", "program", "records", "sweep", "untrained"]
