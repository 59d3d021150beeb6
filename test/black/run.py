#!/usr/bin/python3
"""Run the black-box suite: run.py [-j N] [-v] [WORD...], tests whose name holds a WORD.

SLUICE names the binary, by default ./sluice."""
import argparse, multiprocessing, os, shutil, signal, sys, time, unittest, warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import black

# Reasons that no test can give: see black.Clock.
LATER = {"clock_unset"} if black.static() and not black.emulated() else set()


def flat(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from flat(t)
        else:
            yield t


LIMIT = 150                                  # seconds for one test: it hangs


def hangs(*_):
    raise AssertionError(f"not done after {LIMIT} s")


def one(name):
    """Run one test: (name, verdict, text, seconds, reasons seen)."""
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(LIMIT)
    warnings.simplefilter("ignore", ResourceWarning)
    black.REASONS.clear()
    suite = unittest.defaultTestLoader.loadTestsFromName(name)
    test, = flat(suite)
    result, begin = unittest.TestResult(), time.monotonic()
    unittest.TestSuite([test]).run(result)
    signal.alarm(0)
    took = time.monotonic() - begin
    text = "".join(getattr(t, "_subDescription", str)() + "\n" + trace
                   for t, trace in result.failures + result.errors)
    text += "".join(f"{name}: unexpected success" for _ in result.unexpectedSuccesses)
    if text:
        text += "".join(s.report() + "\n" for s in getattr(test, "servers", [])[-4:])
        return name, "failed", text, took, black.REASONS
    if result.skipped:
        return name, "skipped", result.skipped[0][1], took, black.REASONS
    return name, "passed", "", took, black.REASONS


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("-j", type=int, default=12)
    ap.add_argument("-v", action="store_true")
    ap.add_argument("word", nargs="*")
    args = ap.parse_args()
    if not os.access(black.SLUICE, os.X_OK):
        sys.exit(f"black: no binary at {black.SLUICE}")
    if not shutil.which("node") or not os.path.isdir(os.path.join(HERE, "node_modules")):
        sys.exit("black: node and `npm ci` in test/black come first")
    tests = [t.id() for t in flat(unittest.defaultTestLoader.discover(HERE, top_level_dir=HERE))]
    tests = [t for t in tests if not args.word or any(w in t for w in args.word)]
    # Those that mostly wait, or are long, begin first.
    long = ("Debian", "tls_scan", "tls_streams", "fanout", "process", "used_file")
    tests.sort(key=lambda t: min((i for i, w in enumerate(long) if w in t), default=9))
    count, seen, begin = {"passed": 0, "failed": 0, "skipped": 0}, set(), time.monotonic()
    with multiprocessing.Pool(args.j, maxtasksperchild=20) as pool:
        for name, verdict, text, took, why in pool.imap_unordered(one, tests):
            count[verdict] += 1
            seen |= why
            if verdict == "failed":
                print(f"=== {name}\n{text}", flush=True)
            elif args.v or verdict == "skipped":
                print(f"{verdict} {took:6.2f} s  {name} {text}", flush=True)
    if not args.word:
        missing = black.reasons() - seen - LATER
        count["failed" if missing else "passed"] += 1
        if missing:
            print("=== reasons of why.h that no log showed:", *sorted(missing))
    if args.v:
        print(f"{time.monotonic() - begin:.1f} s")
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"black: {count['passed']} passed, {count['failed']} failed{skipped}")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
