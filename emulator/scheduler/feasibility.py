"""Which jobs could ever run, and where: on the cluster when it is empty and healthy, hosts that are not in service yet included."""

from collections.abc import Sequence

from emulator.scheduler.accounts import Accounts
from emulator.scheduler.dispatch import Choice
from emulator.scheduler.partition import Partition
from emulator.scheduler.placement import could_ever_fit
from emulator.scheduler.sorts import Key
from emulator.scheduler.table import JobTable
from emulator.workload.jobs import ANY_LEVEL, ANY_TYPE

#: Sorts of jobs with slices of which it is remembered whether they could ever fit.
MOST_KNOWN_SLICES = 4096
#: Sorts of jobs of which it is remembered at which sites they could.
MOST_KNOWN_KINDS = 4096


class Feasibility:
    """Of one cluster. ``widest`` is the level that a job which requires none stays inside; ANY_LEVEL: any hosts will do."""

    def __init__(self, table: JobTable, partitions: Sequence[Partition], accounts: Accounts | None, widest: int) -> None:
        self._table, self._partitions, self._accounts, self._widest = table, partitions, accounts, widest
        self._all_types = tuple(sorted({partition.host_type for partition in partitions}))
        #: By host type: the numbers of its partitions.
        self._of_type = {
            kind: tuple([partition.number for partition in partitions if partition.host_type == kind]) for kind in self._all_types
        }
        self._sliced_fits: dict[tuple[int, ...], bool] = {}  # what is known of jobs with slices: it takes a look at every unit
        self._choices: dict[tuple[int, ...], tuple[Choice, ...]] = {}  # by kind of job

    def types_for(self, key: Key) -> tuple[int, ...]:
        """The host types on which jobs of a sort may wait, the preferred first; none where they can never run."""
        (gpus, milli_gpus, level, _, *slices), named, types, queue, _ = key
        asked = types or (self._all_types if named == ANY_TYPE else (named,))
        fitting = tuple([number for number in asked if self._could_fit(number, gpus, level, *slices)])
        if self._accounts is not None and len(fitting) > 1:  # where its queue will never have quota for it, it need not wait
            could_ever_fit = self._accounts.quotas.could_ever_fit
            fitting = tuple([number for number in fitting if could_ever_fit(queue, number, gpus * milli_gpus)]) or fitting
        return asked if fitting == asked else fitting

    def choices_for(self, slot: int, types: tuple[int, ...]) -> tuple[Choice, ...]:
        """The sites on which the job could ever fit, on hosts of these types, by number."""
        table = self._table
        asked = table.size_gpus[slot], table.require_level[slot], table.slice_gpus[slot], table.slice_level[slot]
        kind = *asked, *types
        if kind not in self._choices:
            if len(self._choices) >= MOST_KNOWN_KINDS:
                self._choices.clear()
            found: dict[int, list[int]] = {}
            for number in (number for host_type in types for number in self._of_type[host_type]):
                if self._could_fit_in(number, *asked):
                    found.setdefault(self._partitions[number].site, []).append(number)
            self._choices[kind] = tuple([Choice(site, tuple(numbers)) for site, numbers in sorted(found.items())])
        return self._choices[kind]

    def could_ever_fit(
        self, gpus: int, require_level: int, types: tuple[int, ...], slice_gpus: int = 0, slice_level: int = ANY_LEVEL
    ) -> bool:
        """Whether some placement on this cluster, when empty and healthy, holds such a job (``types``: on hosts of these; none: of any)."""
        level = self._widest if require_level == ANY_LEVEL else require_level
        return any(self._could_fit(number, gpus, level, slice_gpus, slice_level) for number in types or self._all_types)

    def _could_fit(self, number: int, gpus: int, level: int, slice_gpus: int, slice_level: int) -> bool:
        """Whether hosts of one type do."""
        return any(self._could_fit_in(place, gpus, level, slice_gpus, slice_level) for place in self._of_type[number])

    def _could_fit_in(self, number: int, gpus: int, level: int, slice_gpus: int, slice_level: int) -> bool:
        """Whether those of one partition do."""
        free = self._partitions[number].free
        if not slice_gpus:
            return could_ever_fit(free, gpus, level)
        asked = number, gpus, level, slice_gpus, slice_level
        if asked not in self._sliced_fits:
            if len(self._sliced_fits) >= MOST_KNOWN_SLICES:
                self._sliced_fits.clear()
            self._sliced_fits[asked] = could_ever_fit(free, gpus, level, slice_gpus, slice_level)
        return self._sliced_fits[asked]
