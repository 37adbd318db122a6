from .data.examples import Batch as Batch
from .errors import DataError as DataError
from .errors import Unsuitable as Unsuitable
from .experiments.about import Paper as Paper
from .experiments.datasets import Dataset as Dataset
from .experiments.datasets import Listing as Listing
from .experiments.durations import Duration as Duration
from .experiments.hookspecs import hookimpl as hookimpl
from .experiments.parameters import Count as Count
from .experiments.parameters import Rate as Rate
from .experiments.parameters import Share as Share
from .experiments.recipe import Recipe as Recipe
from .export.state_files import load_network as load_network
from .methods.controls import Base as Base
from .methods.retraining import Retraining as Retraining
from .methods.retraining import retrain as retrain
from .methods.rounds import global_rounds as global_rounds
from .methods.rounds import layer_rates as layer_rates
from .methods.rounds import layerwise as layerwise
from .methods.rounds import layerwise_rounds as layerwise_rounds
from .methods.scores import chance as chance
from .methods.scores import magnitude as magnitude
from .pruning.allocation import erk as erk
from .pruning.allocation import uniform as uniform
from .pruning.tickets import Ticket as Ticket
from .training.session import Session as Session

__version__: str
