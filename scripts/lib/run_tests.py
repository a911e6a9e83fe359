"""Builds, checks and tests everything. The last line is `N passed, N failed, N skipped`.

Checks, unit tests, guest programs on /dev/kvm, and real systems in the lab. Without --all: the checks and the tests of
the release build. With --all: also the tests that are labelled `long`, the unit tests under the address and thread
sanitizers, clang-tidy, and fuzzing.

Tests that need KVM run on this machine's /dev/kvm if it is hardware KVM, else in the lab (scripts/kvm-lab). A /dev/kvm
without the processor's virtualization interprets guests, each kind of it leaving out other instructions: guest programs
are tried there first, in milliseconds, and what does not pass is judged by the lab.
VMM_TESTS_WITHOUT_KVM=1: tests that would need the lab are counted as skipped instead.
VMM_LAB_SECONDS: a time limit for the lab other than 900 s (1800 s with --all), for a machine that is busy.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree

sys.dont_write_bytecode = True

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = os.path.join(TOP, "scripts")
JOBS = "2"
LAB_SECONDS = 900
LAB_SECONDS_ALL = 1800
LABS = 2  # side by side, as many as there are CPUs for
LAB_REPEATS = 4
LAB_START_SECONDS = 60  # a lab for less is not worth its start
LINES_OF_A_FAILURE = 15  # repeated at the end, for a reader who has only the end
FAILURES_REPEATED = 5
TEST_SECONDS = 300  # for a test that sets no limit of its own
FUZZ_SECONDS = 15
FUZZ_LONGER = {"fuzz_domain_xml": 100}  # what people are handed by others, and run
CHECK_SECONDS = 3600
LAB_STARTED = "started"  # left in the shared folder by the lab, to tell a lab that failed from a test that did
NOISE = re.compile(r" *Start +\d+: |Internal ctest changing|Test project |\[ *\d+/\d+\]\[[\d.]+s\] |\d+ warnings? (generated|treated)")
PROGRESS = re.compile(r"^ *\d+/\d+ Test +#\d+: (\S+) .*?(Passed|\*\*\*\w[\w ]*?) +[\d.]+ sec", re.MULTILINE)


def telling_lines(lines):
    """Of a failed test's output: what its first failure says, where GoogleTest marks it, and how it ended."""
    last = lines[-LINES_OF_A_FAILURE:]
    first = next((number for number, line in enumerate(lines) if line.endswith(": Failure")), len(lines))
    said = lines[first:first + LINES_OF_A_FAILURE]
    return said + lines[max(first + LINES_OF_A_FAILURE, len(lines) - LINES_OF_A_FAILURE):] if said else last


class Run:
    def __init__(self):
        self.passed = self.skipped = 0
        self.failures = []  # (phase, name, the end of what it printed)
        self._start = time.monotonic()
        self._phase = ""

    @property
    def exit_status(self):
        return 1 if self.failures or self.passed == 0 else 0

    def phase(self, title):
        self._phase = title
        print(f"\n== [{time.monotonic() - self._start:5.0f} s] {title}", flush=True)

    def ok(self, passed=1, skipped=0):
        self.passed += passed
        self.skipped += skipped

    def fail(self, name, printed=""):
        self.failures.append((self._phase, name, telling_lines(printed.strip().splitlines())))

    def count(self, name, result, printed=""):
        if result == "passed":
            self.ok()
        elif result == "skipped":
            self.ok(0, 1)
        else:
            self.fail(f"{name} ({result})", printed)

    def skip(self, count, why):
        self.skipped += count
        print(f"{count} skipped: {why}")

    def command(self, name, command, seconds=CHECK_SECONDS, **options):
        """A command that counts as one test."""
        try:
            status = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, timeout=seconds, check=False, **options).returncode
        except (subprocess.TimeoutExpired, OSError) as error:
            print(error)
            status = -1
        if status == 0:
            self.ok()
        else:
            print(f"{name}: failed with status {status}")
            self.fail(name)
        return status == 0

    def finish(self):
        print(f"\n== [{time.monotonic() - self._start:5.0f} s] end")
        for phase, name, printed in self.failures[:FAILURES_REPEATED]:
            if printed:
                print(f"-- {phase}: {name}", *printed, sep="\n")
        for phase, name, _ in self.failures:
            print(f"FAILED {phase}: {name}")
        if self.passed == 0 and not self.failures:
            print("nothing was tested")
        print(f"{self.passed} passed, {len(self.failures)} failed, {self.skipped} skipped", flush=True)
        return self.exit_status


# --- building -----------------------------------------------------------------------------------------------------

def presets():
    with open(f"{TOP}/CMakePresets.json", encoding="utf-8") as file:
        return {preset["name"]: os.path.basename(preset["binaryDir"]) for preset in json.load(file)["configurePresets"]}


def configure(run, preset):
    """The build folder, or None when it cannot be configured; then that is one failure."""
    log = f"{TOP}/{presets()[preset]}.configure.log"
    with open(log, "wb") as output:
        configured = subprocess.run(["cmake", "--preset", preset], cwd=TOP, stdout=output, stderr=output, check=False)
    with open(log, encoding="utf-8", errors="replace") as output:
        text = output.read()
    os.remove(log)
    if configured.returncode:
        print(text)
        run.fail(f"configure {preset}")
        return None
    return f"{TOP}/{presets()[preset]}"


def build(run, preset):
    """The build folder, or None when it cannot be built; then that is one failure."""
    run.phase(f"build: {preset}")
    folder = configure(run, preset)
    if not folder:
        return None
    built = subprocess.run(["cmake", "--build", "--preset", preset, "--", "-j", JOBS, "--quiet", "-k", "20"], cwd=TOP, check=False)
    if built.returncode:
        run.fail(f"build {preset}")
        return None
    return folder


# --- ctest --------------------------------------------------------------------------------------------------------

def ctest_selection(labels, everything, without=()):
    left_out = [*([] if everything else ["long"]), *without]
    return ["-L", f"^({labels})$"] + (["-LE", f"^({'|'.join(left_out)})$"] if left_out else [])


def selection_of_names(names):
    return ["-R", f"^({'|'.join(map(re.escape, names))})$"]


def ctest_command(folder, selection, junit, jobs=JOBS):
    return ["ctest", "--test-dir", folder, *selection, "-j", jobs, "--output-on-failure", "--no-tests=ignore",
            "--timeout", str(TEST_SECONDS), "--output-junit", junit]


def test_names(folder, selection):
    listing = subprocess.run(["ctest", "--test-dir", folder, *selection, "-N", "--show-only=json-v1"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    return [test["name"] for test in json.loads(listing).get("tests", [])]


def run_and_show(command, prefix=""):
    """(status, output); the output is shown while it comes."""
    child = subprocess.Popen(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace")
    lines = []
    for line in child.stdout:
        lines.append(line)
        if not NOISE.match(line):
            print(prefix + line, end="", flush=True)
    return child.wait(), "".join(lines)


def count_results(run, names, junit, status, output):
    """Every test of `names` is counted once, whatever became of it; one that has no result has failed."""
    found = os.path.exists(junit)
    results = results_of_junit(junit) if found else results_of_progress(output)
    printed = output_of_failures(junit) if found else {}
    for name in names:
        run.count(name, results.get(name, "no result"), printed.get(name, ""))
    if status and all(results.get(name) in ("passed", "skipped") for name in names):
        run.fail(f"ctest ended with status {status}")


def results_of_junit(path):
    results = {}
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        state = case.get("status")
        if case.find("skipped") is not None or state == "disabled":
            result = "skipped" if state == "disabled" or "SKIP" in (case.find("skipped").get("message") or "") else "not run"
        else:
            result = "passed" if state == "run" and case.find("failure") is None else "failed"
        # Two programs may have a test of one name: a failure of either counts.
        if results.get(case.get("name"), "passed") in ("passed", "skipped"):
            results[case.get("name")] = result
    return results


def output_of_failures(path):
    return {case.get("name"): case.findtext("system-out") or ""
            for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase") if case.find("failure") is not None}


def results_of_progress(output):
    words = {"Passed": "passed", "***Skipped": "skipped"}
    return {name: words.get(word, "failed") for name, word in PROGRESS.findall(output)}


def run_ctest(run, title, folder, labels, everything, without=()):
    selection = ctest_selection(labels, everything, without)
    run.phase(title)
    names = test_names(folder, selection)
    if not names:
        if labels == "unit":
            run.fail("there are no unit tests")
        else:
            print("none")
        return
    junit = f"{folder}/junit.xml"
    remove(junit)
    status, output = run_and_show(ctest_command(folder, selection, junit))
    count_results(run, names, junit, status, output)


def run_ctest_in_lab(run, title, folder, names, everything, emulated):
    run.phase(title)
    if not names:
        print("none")
        return
    if os.environ.get("VMM_TESTS_WITHOUT_KVM") == "1":
        run.skip(len(names), "no hardware KVM here, and VMM_TESTS_WITHOUT_KVM=1")
        return
    seconds = int(os.environ.get("VMM_LAB_SECONDS") or (LAB_SECONDS_ALL if everything else LAB_SECONDS))
    deadline = time.monotonic() + seconds
    if not emulated:
        results = run_in_one_lab(folder, names, seconds, "lab", JOBS, [])
    else:
        results = run_in_labs(folder, names, seconds)
        if results is not None:
            repeat_in_other_labs(run, title, folder, names, results, deadline)
    printed = output_in_labs(folder)
    for name in names:
        run.count(name, (results or {}).get(name, "no result"), printed.get(name, ""))


def output_in_labs(folder):
    """Of the labs that ran last."""
    found = {}
    for junit in glob.glob(f"{folder}/lab*/junit.xml"):
        found |= output_of_failures(junit)
    return found


def repeat_in_other_labs(run, title, folder, names, results, deadline):
    """Rarely QEMU's emulator freezes, or spoils the memory of what runs in it; that says nothing of a test, which then
    has no result, or a wrong one. So what has not passed in one lab is judged by another one, and named."""
    for _ in range(LAB_REPEATS):
        rest = [name for name in names if results.get(name) not in ("passed", "skipped")]
        seconds = int(deadline - time.monotonic())
        if not rest or seconds < LAB_START_SECONDS:
            return
        run.phase(f"{title}: {len(rest)} once more, in another lab")
        for name in rest:
            print(f"{name}: {results.get(name, 'no result')}")
        again = run_in_labs(folder, rest, seconds) or {}
        for name in rest:
            if again.get(name) == "passed" and results.get(name) == "failed":
                print(f"PASSED THE SECOND TIME ONLY: {name}")
        results |= again


def run_in_labs(folder, names, seconds):
    """In several labs side by side, each with one CPU: QEMU's emulator is reliable where it is one thread."""
    shares = [share for share in (names[first::LABS] for first in range(LABS)) if share]
    deadline = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(LABS) as pool:
        parts = list(pool.map(lambda number, share: run_share(folder, share, deadline, f"lab-{number}"), range(1, len(shares) + 1), shares))
    if all(part is None for part in parts):
        return None
    return {name: result for part in parts for name, result in (part or {}).items()}


def run_share(folder, names, deadline, lab):
    """What a lab that froze has left is taken up by another one at once, the test that was under way last."""
    results = None
    rest = names
    for _ in range(LAB_REPEATS):
        seconds = int(deadline - time.monotonic())
        if not rest or seconds < LAB_START_SECONDS:
            break
        part = run_in_one_lab(folder, rest, seconds, lab, "1", ["--smp", "1"])
        if part is None and results is None:
            return None
        results = (results or {}) | (part or {})
        rest = [name for name in rest if name not in results]
        if rest:
            print(f"{lab}: ended before {len(rest)} of its tests had", flush=True)
        rest = rest[1:] + rest[:1]
    return results


def run_in_one_lab(folder, names, seconds, lab, jobs, options):
    """The results by name of the tests that came to their end; None where the lab did not start."""
    out = f"{folder}/{lab}"
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    junit = f"{out}/junit.xml"
    # Temporary files on the scratch disk: unlike the lab's other folders it has O_DIRECT.
    inside = 'touch "$VMM_LAB_OUT/$0" && TMPDIR=$VMM_LAB_SCRATCH exec "$@"'
    tests = ctest_command(folder, selection_of_names(names), junit, jobs)
    _, output = run_and_show([f"{SCRIPTS}/kvm-lab", "--time-limit", str(seconds), "--scratch", "8G", "--out", out, *options,
                              "--console-log", f"{folder}/{lab}-console.log", "--", "sh", "-c", inside, LAB_STARTED, *tests],
                             f"{lab}: ")
    if not os.path.exists(f"{out}/{LAB_STARTED}"):
        print("The lab did not start, so its tests have failed. To count them as skipped: VMM_TESTS_WITHOUT_KVM=1")
        return None
    return results_of_junit(junit) if os.path.exists(junit) else results_of_progress(output)


def remove(path):
    if os.path.exists(path):
        os.remove(path)


def can_open_kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        return True
    except OSError:
        return False


def left_by_interpreting_kvm(run, title, folder, names):
    """Counts what passes on a /dev/kvm that interprets guests; the names of the others."""
    run.phase(title)
    junit = f"{folder}/junit.xml"
    remove(junit)
    _, output = run_and_show(ctest_command(folder, selection_of_names(names), junit))
    results = results_of_junit(junit) if os.path.exists(junit) else results_of_progress(output)
    rest = []
    for name in names:
        if results.get(name) in ("passed", "skipped"):
            run.count(name, results[name])
        else:
            print(f"FOR THE LAB: {name}: {results.get(name, 'no result')} on this machine's /dev/kvm, which interprets guests")
            rest.append(name)
    return rest


def run_kvm_tests(run, folder, labels, everything):
    """`labels` is a set out of kvm and lab. One start of the lab serves all that need it."""
    where = subprocess.run([f"{SCRIPTS}/kvm-lab", "--where"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    names = test_names(folder, ctest_selection("|".join(sorted(labels)), everything))
    if where == "direct":
        # kvm-lab only adds the scratch folder and the time limit
        run_ctest_in_lab(run, "tests on this machine's KVM", folder, names, everything, False)
        return
    # the lab cannot write to the cache
    subprocess.run([f"{SCRIPTS}/guest-image", "--prepare"], check=False)
    subprocess.run([f"{SCRIPTS}/guest-package", "ipxe", "memtest86+"], stdout=subprocess.DEVNULL, check=False)
    if everything:
        subprocess.run([f"{SCRIPTS}/guest-kernel", "installer"], stdout=subprocess.DEVNULL, check=False)
    programs = set(test_names(folder, ctest_selection("kvm", everything))).intersection(names)
    if programs and can_open_kvm():
        rest = left_by_interpreting_kvm(run, "guest programs on /dev/kvm", folder, [name for name in names if name in programs])
        names = [name for name in names if name not in programs or name in rest]
    run_ctest_in_lab(run, "tests in the lab", folder, names, everything, True)


# --- the whole ----------------------------------------------------------------------------------------------------

def check_sources(run):
    run.phase("checks of the sources")
    run.command("check-includes", [f"{SCRIPTS}/check-includes"])
    run.command("check-format", [f"{SCRIPTS}/check-format"])


def run_sanitizers(run, labels):
    for preset in ("asan", "tsan"):
        folder = build(run, preset)
        if not folder:
            continue
        if "unit" in labels:
            run_ctest(run, f"unit tests: {preset}", folder, "unit", False, ["one-thread"] if preset == "tsan" else [])


def run_tidy(run):
    """The analyzer looks at one source at a time; all other checks cost by the headers that they go through, and read
    several sources at once."""
    run.phase("clang-tidy")
    # clang's own builds, so that every flag is one that clang-tidy knows
    together = f"{TOP}/{presets()['tsan']}"
    if not os.path.exists(f"{together}/compile_commands.json"):
        run.fail("no compile_commands.json: the tsan build has failed")
    else:
        own = f"{re.escape(TOP)}/({presets()['tsan']}/layers/)?(vmm|devices|block|boot)/"
        others = f"{re.escape(together)}/(devices|block|boot)/"
        run_clang_tidy(run, "clang-tidy", together, "-clang-analyzer-*", f"^({own}|{others}).*$")
    run.phase("clang's analyzer")
    single = configure(run, "tidy")
    if single:
        # With clang's own limit of 225,000 states a function takes three times as long, and finds the same here.
        limit = [f"-extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=40000")]
        run_clang_tidy(run, "clang's analyzer", single, "-*,clang-analyzer-*", f"^{re.escape(TOP)}/(vmm|devices|block|boot)/.*$", limit)


def run_clang_tidy(run, name, folder, checks, files, options=()):
    """One test; what is shown are the findings, not which source is read."""
    tidy = shutil.which("run-clang-tidy-19") or "run-clang-tidy-19"
    status, output = run_and_show([tidy, "-quiet", "-p", folder, "-j", JOBS, f"-checks={checks}", *options, files])
    if status:
        findings = "\n".join(line for line in output.splitlines() if ": error: " in line)
        run.fail(name, findings or output)
    else:
        run.ok()


def fuzz_seconds(fuzzer):
    return FUZZ_LONGER.get(os.path.basename(fuzzer), FUZZ_SECONDS)


def fuzz_command(folder, fuzzer):
    name = os.path.basename(fuzzer)
    found = f"{folder}/corpus/{name}"
    os.makedirs(found, exist_ok=True)
    seeds = f"{TOP}/tests/fuzz/corpus/{name}"
    return [fuzzer, f"-max_total_time={fuzz_seconds(fuzzer)}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=0",
            f"-artifact_prefix={folder}/crashes/{name}-", found, *([seeds] if os.path.isdir(seeds) else [])]


def run_fuzzer(folder, fuzzer):
    """(name, status); the output, a line for each input that led further, is in the log and is shown where it failed."""
    name = os.path.basename(fuzzer)
    log = f"{folder}/{name}.log"
    with open(log, "wb") as output:
        try:
            status = subprocess.run(fuzz_command(folder, fuzzer), cwd=TOP, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                    timeout=fuzz_seconds(fuzzer) + FUZZ_SECONDS * 4, check=False).returncode
        except (subprocess.TimeoutExpired, OSError) as error:
            status = str(error)
    with open(log, encoding="utf-8", errors="replace") as output:
        lines = output.read().splitlines()
    runs = next((line for line in reversed(lines) if line.startswith("Done ")), "no end")
    print("\n".join([f"{name}: {runs}" if status == 0 else f"{name}: failed with status {status}"] + (lines[-80:] if status else [])),
          flush=True)
    return name, status


def run_fuzzers(run):
    folder = build(run, "fuzz")
    if not folder:
        return
    run.phase(f"fuzzing, {FUZZ_SECONDS} s each, some longer")
    fuzzers = sorted((file for file in glob.glob(f"{folder}/fuzz_*") if os.access(file, os.X_OK) and os.path.isfile(file)),
                     key=lambda fuzzer: (-fuzz_seconds(fuzzer), fuzzer))
    if not fuzzers:
        run.fail("there are no fuzzers")
    os.makedirs(f"{folder}/crashes", exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        for name, status in pool.map(lambda fuzzer: run_fuzzer(folder, fuzzer), fuzzers):
            if status:
                run.fail(name)
            else:
                run.ok()


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="everything, long tests too (at most 75 minutes on 2 cores)")
    parser.add_argument("--label", action="append", choices=("unit", "kvm", "lab"),
                        help="only the tests with this label, without the checks; may be repeated")
    return parser.parse_args()


def main():
    options = parse_arguments()
    labels = set(options.label or ("unit", "kvm", "lab"))
    run = Run()
    if not options.label:
        check_sources(run)
    folder = build(run, "release")
    if folder and "unit" in labels:
        run_ctest(run, "unit tests", folder, "unit", options.all)
    if folder and labels & {"kvm", "lab"}:
        run_kvm_tests(run, folder, labels & {"kvm", "lab"}, options.all)
    if options.all:
        run_sanitizers(run, labels)
        if not options.label:
            run_tidy(run)
            run_fuzzers(run)
    return run.finish()


if __name__ == "__main__":
    sys.exit(main())
