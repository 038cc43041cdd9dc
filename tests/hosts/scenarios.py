"""All scenarios, in the order in which they are done: later ones need what earlier ones leave."""

from __future__ import annotations

import json
import re
import time

from tests.hosts.fleet import COMMAND, METRICS_PORT, PATIENCE, STOP_FILE, WITHIN_SECONDS, Fleet
from tests.hosts.machine import Machine
from tests.support.fleet import wait_for
from tests.support.scenarios import Scenario

WORKER = "pairing-worker.service"
MOST_EXPOSED = 1.3
"""Of 10: what ``systemd-analyze security`` may say of the worker, which may execute what it compiles."""


def installed(fleet: Fleet) -> str:
    """Files, settings and tables as docs/services.md tells; every service runs and has nothing to complain of."""
    began = time.monotonic()
    for machine in fleet.machines:
        machine.run("pairing", "service", "install")
        machine.run("pairing", "service", "install")
    fleet.call("pool", "init", "--shared-table")
    for machine in fleet.machines:
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", WORKER)
        ready(machine)
    fleet.one.run("systemctl", "enable", "--now", "pairing-worker@plan.service", "pairing-flower.service")
    fleet.two.run("systemctl", "enable", "--now", "pairing-sweeper.timer")
    ready(fleet.one, "pairing-worker@plan.service")
    for machine in fleet.machines:
        machine.run("pairing", "service", "status")
    return f"{time.monotonic() - began:.0f} s"


def ready(machine: Machine, unit: str = WORKER) -> None:
    """Waits until a worker, as it was last started, has said that it is."""
    wait_for(f"{unit} on {machine.name}", lambda: " ready." in machine.said_now(unit), PATIENCE)


def enqueued(fleet: Fleet) -> str:
    """A run that both hosts work on: its id."""
    for machine in fleet.machines:
        ready(machine)
    return fleet.enqueue()


def solved(fleet: Fleet) -> str:
    """A run from the second host, to its solution in the pool."""
    began = time.monotonic()
    said = fleet.two.run(*COMMAND, "enqueue", "/opt/puzzle", "--wait", "--json", "--deadline", 600).stdout
    took = time.monotonic() - began
    assert json.loads(said.splitlines()[-1])["solved"], said
    assert fleet.query("SELECT count(*) FROM js_puzzle_pool WHERE full_mse < 1e-9") == "1"
    return f"{took:.0f} s"


def quiet(fleet: Fleet) -> str:
    """Nobody is warned of what is not so."""
    for machine in fleet.machines:
        assert "superuser" not in machine.journal(WORKER)
        users = machine.shell("ps -o user= -C celery,pairing | sort -u; systemctl show -p DynamicUser pairing-worker")
        assert "DynamicUser=yes" in users
    said = fleet.one.journal("pairing-flower.service")
    assert "Inspect method" not in said
    assert "Traceback" not in said
    return ""


def one_exporter(fleet: Fleet) -> str:
    """The numbers are there, and still there when the worker that gave them has ended."""
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{METRICS_PORT}/metrics').read().decode())"

    def numbers() -> bool:
        return "pairing_store_up 1.0" in fleet.one.run("python3", "-c", ask, status=None).stdout

    wait_for("the fleet's numbers", numbers, 60)
    units = (WORKER, "pairing-worker@plan.service")
    given = [unit for unit in units if f":{METRICS_PORT}/metrics" in fleet.one.journal(unit)]
    other = [unit for unit in units if "is taken" in fleet.one.journal(unit)]
    assert len(given) == 1, given
    assert other, "the second worker said nothing of the port"
    fleet.one.run("systemctl", "stop", given[0])
    began = time.monotonic()
    wait_for("the numbers from the other worker", numbers, 60)
    took = time.monotonic() - began
    fleet.one.run("systemctl", "start", given[0])
    ready(fleet.one, given[0])
    assert "Address already in use" not in fleet.one.journal(WORKER)
    fleet.one.run("systemctl", "disable", "--now", "pairing-worker@plan.service")
    return f"again after {took:.0f} s"


def restricted(fleet: Fleet) -> str:
    """What a booted systemd says of the services."""
    said = fleet.one.run("systemd-analyze", "security", "--no-pager", WORKER).stdout
    (exposed,) = re.findall(r"exposure level for \S+: ([0-9.]+)", said)
    assert float(exposed) <= MOST_EXPOSED, said
    return f"{exposed} of 10"


def held_by(fleet: Fleet, run: str, name: str) -> dict[str, tuple[object, ...]]:
    """The refinements in flight of a run that a host works on."""
    return {part: stands for part, stands in fleet.refining(run, [name]).items() if stands[0] == name}


def restarted(fleet: Fleet) -> str:
    """All services of both hosts at once."""
    run = enqueued(fleet)
    before = fleet.refining(run)
    began = time.monotonic()
    for machine in fleet.machines:
        machine.run("systemctl", "restart", "--no-block", "pairing-*.service")
    took = fleet.taken_up(run, before, began=began)
    fleet.check_end(run)
    return went_on(took)


def went_on(took: float) -> str:
    """The figure, which has to be less than what is promised."""
    assert took <= WITHIN_SECONDS, f"it took {took:.0f} s until all went on"
    return f"went on after {took:.0f} s"


def worker_killed(fleet: Fleet) -> str:
    """SIGKILL to all of the second host's worker; systemd starts another."""
    run = enqueued(fleet)
    before = held_by(fleet, run, "two")
    began = time.monotonic()
    fleet.two.run("systemctl", "kill", "--signal=KILL", WORKER)
    took = fleet.taken_up(run, before, began=began)
    fleet.check_end(run)
    return went_on(took)


def host_lost(fleet: Fleet) -> str:
    """The second host loses its power, and stays off until the run has ended."""
    run = enqueued(fleet)
    before = held_by(fleet, run, "two")
    began = time.monotonic()
    fleet.two.lose_power()
    took = fleet.taken_up(run, before, began=began)
    fleet.check_end(run)
    fleet.two.switch_on()
    return went_on(took)


def redis_restarted(fleet: Fleet) -> str:
    """Redis, with refinements in flight on both hosts."""
    run = enqueued(fleet)
    fleet.refining(run)
    fleet.one.run("systemctl", "restart", "redis-server")
    began = time.monotonic()
    wait_for("Redis", lambda: fleet.standing(run), 60)
    took = fleet.taken_up(run, fleet.standing(run), owner=False, began=began)
    fleet.check_end(run)
    return went_on(took)


def rebooted(fleet: Fleet) -> str:
    """Both hosts at once; nobody does anything afterwards."""
    run = enqueued(fleet)
    before = fleet.refining(run)
    began = time.monotonic()
    for machine in fleet.machines:
        machine.reboot()
    for machine in fleet.machines:
        machine.come_up()
    up = time.monotonic() - began
    took = fleet.taken_up(run, before, began=began)
    fleet.check_end(run)
    return f"up after {up:.0f} s, went on after {took:.0f} s"


def upgraded(fleet: Fleet) -> str:
    """Another version, host by host, as docs/operating.md tells, with a run under way."""
    run = enqueued(fleet)
    fleet.refining(run)
    for machine in fleet.machines:
        fleet.install(machine, fleet.wheels[1])
        machine.run("pairing", "service", "install")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "pairing-*.service")
        ready(machine)
    fleet.check_end(run)
    versions = {machine.run("pairing", "--version").stdout for machine in fleet.machines}
    (version,) = versions
    assert version.strip().split()[-1].startswith("9."), version
    fleet.check_end(enqueued(fleet))
    return ""


def stop_files(fleet: Fleet) -> str:
    """Nothing is taken while they exist, everything when they are gone."""
    for machine in fleet.machines:
        times = machine.journal(WORKER).count(STOP_FILE)
        machine.run("touch", STOP_FILE)
        wait_for("the worker to see it", lambda m=machine, n=times: m.journal(WORKER).count(STOP_FILE) > n, 60)  # type: ignore[misc]
    run = fleet.enqueue()
    time.sleep(5.0)  # nothing is to happen: there is nothing to wait for
    assert fleet.ask(lambda store: store.record(run, "plan") or {}) == {}
    for machine in fleet.machines:
        machine.run("rm", STOP_FILE)
    fleet.check_end(run)
    return ""


def own_services(fleet: Fleet) -> str:
    """A user's own services, while that user is not logged in, and no worker of the hosts' runs."""
    fleet.one.run("systemctl", "stop", WORKER)
    two = fleet.two
    two.run("systemctl", "stop", WORKER)
    two.run("useradd", "--create-home", "--shell", "/bin/sh", "anna")
    two.run("loginctl", "enable-linger", "anna")
    uid = two.run("id", "-u", "anna").stdout.strip()
    wait_for(
        "her systemd", lambda: two.run("test", "-S", f"/run/user/{uid}/systemd/private", status=None).returncode == 0
    )
    as_anna = ("runuser", "-u", "anna", "--", "env", "HOME=/home/anna", f"XDG_RUNTIME_DIR=/run/user/{uid}")
    put = "mkdir -p ~/.config/pairing; umask 77; cat >~/.config/pairing/environment"
    two.run(*as_anna, "sh", "-ec", put, text=fleet.environment)
    two.run(*as_anna, "pairing", "service", "install", "--user")
    two.run(*as_anna, "systemctl", "--user", "daemon-reload")
    two.run(*as_anna, "systemctl", "--user", "enable", "--now", WORKER)
    try:
        fleet.check_end(fleet.enqueue())
    except AssertionError:
        print(two.run(*as_anna, "journalctl", "--user", "--no-pager", status=None).stdout[-3000:])
        raise
    two.run(*as_anna, "systemctl", "--user", "disable", "--now", WORKER)
    two.run(*as_anna, "pairing", "service", "uninstall", "--user")
    left = two.run("sh", "-c", "find /home/anna/.config -name '*pairing*' -o -name installed-services.json").stdout
    assert left.split() == ["/home/anna/.config/pairing"], left
    two.run("loginctl", "disable-linger", "anna")
    return ""


def uninstalled(fleet: Fleet) -> str:
    """Only what people have written themselves stays: the environment file."""
    for machine in fleet.machines:
        machine.shell("systemctl disable --now pairing-worker pairing-flower pairing-sweeper.timer")
        machine.run("pairing", "service", "uninstall")
        machine.run("systemctl", "daemon-reload")
        left = machine.shell("find /etc -path '*pairing*' -type f -o -path '*systemd*pairing*'")
        assert left.split() == ["/etc/pairing/environment"], left
        assert machine.shell("systemctl list-unit-files --no-legend 'pairing*' || true") == ""
        assert machine.shell("grep -l [/]opt/pairing /proc/[0-9]*/cmdline || true") == ""
    return ""


SAME = "the run ends with the undisturbed solutions, none stored twice; work goes on within 60 s"

SCENARIOS = (
    Scenario(
        name="installed",
        what="`pairing service install` (twice), `pool init`, `systemctl enable --now` of workers, Flower, sweeper",
        holds="everything runs, and `pairing service status` finds it in order",
        work=installed,
    ),
    Scenario(
        name="solved",
        what="`pairing enqueue --wait` on the second host",
        holds="solved, stored in the pool",
        work=solved,
    ),
    Scenario(
        name="quiet",
        what="reading the journals, of a host without libnss-systemd",
        holds="no warning of superusers, no failed inspections of Flower",
        work=quiet,
    ),
    Scenario(
        name="one-exporter",
        what="two workers on a host, and the one that gives the numbers stopped",
        holds="the other gives the same numbers",
        work=one_exporter,
    ),
    Scenario(
        name="restricted",
        what="`systemd-analyze security` of a worker",
        holds=f"at most {MOST_EXPOSED} of 10",
        work=restricted,
    ),
    Scenario(
        name="services-restarted",
        what="`systemctl restart 'pairing-*.service'` on both hosts in mid-run",
        holds=SAME,
        work=restarted,
        fault=True,
    ),
    Scenario(
        name="service-killed",
        what="SIGKILL to all processes of the second host's worker in mid-run",
        holds="the same",
        work=worker_killed,
        fault=True,
    ),
    Scenario(
        name="host-lost",
        what="the second host loses cable and power in mid-run, and stays off",
        holds="the same",
        work=host_lost,
        fault=True,
    ),
    Scenario(
        name="redis-restarted",
        what="`systemctl restart redis-server` in mid-run",
        holds="the same",
        work=redis_restarted,
        fault=True,
    ),
    Scenario(
        name="rebooted",
        what="`systemctl reboot` of both hosts in mid-run",
        holds="the run goes on without a person, and ends with the undisturbed solutions",
        work=rebooted,
        fault=True,
    ),
    Scenario(
        name="upgraded",
        what="a wheel of another version, host by host, in mid-run",
        holds="the run ends with the undisturbed solutions, and so does one of the new version",
        work=upgraded,
        fault=True,
    ),
    Scenario(
        name="stop-files",
        what="stop files on both hosts, a run enqueued, stop files removed",
        holds="nothing is taken while they exist; then the run ends",
        work=stop_files,
    ),
    Scenario(
        name="own-services",
        what="`pairing service install --user` and lingering on the second host, all other workers stopped",
        holds="the run ends with nobody logged in; `uninstall --user` leaves nothing",
        work=own_services,
    ),
    Scenario(
        name="uninstalled",
        what="`systemctl disable --now`, `pairing service uninstall`",
        holds="nothing is left but the environment file",
        work=uninstalled,
    ),
)
