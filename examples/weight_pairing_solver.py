"""Compare the four legacy methods and all others on a puzzle, through a fleet of Pairing workers.

    python weight_pairing_solver.py [PUZZLE]

PUZZLE is a folder in the published layout (default: track2_permutation). The fleet is the one of the environment
(PAIRING_BROKER_URL, …); winners go into its pool. The similarity matrices are written to
results/weight_pairing_matrices.npz beside the puzzle.
"""

import sys
from pathlib import Path

from tasks import enqueue, wait

OLD = ["svd", "activation", "transpose", "cosine"]


def main(puzzle: Path) -> int:
    """Enqueues, waits, prints and writes; 0 if the puzzle is solved, else 1."""
    run = enqueue(puzzle, methods="all", compare=True, deadline=1800.0, note="weight_pairing_solver.py")
    print(f"run {run}: all methods on {puzzle}", flush=True)
    summary, matrices = wait(run)
    pool = summary["pool"]

    for record in sorted(summary["methods"], key=lambda record: [*OLD, record["method"]].index(record["method"])):
        print(f"\n{record['method']}")
        if not record["ok"]:
            print(f"  failed: {record['error']}")
            continue
        print(f"  similarity: total {record['total_similarity']:.4f}, mean {record['mean_similarity']:.4f}")
        print(f"  top pairs: {', '.join(f'{i}-{j} ({value:.4f})' for i, j, value in record['top_pairs'])}")
        if pool["best_before"] is None:
            print("  as the pool best: the pool had none")
        else:
            print(f"  as the pool best: {record['pairs_matching_pool_best']} of {summary['blocks']} pairs")
            print(f"  the pool best's order with these pairs: error {shown(record['pool_order_mse'])}")
        print(f"  refined from '{record['start']}': error {shown(record['start_mse'])} -> {shown(record['full_mse'])}")

    print("\ncomparison (least error first)")
    for rank, record in enumerate(summary["methods"], 1):
        print(f"  {rank}. {record['method']:<16} {shown(record['full_mse']) if record['ok'] else 'failed'}")
    print(f"pool best: {shown(pool['best_before'])} before, {shown(pool['best_after'])} now")
    print(f"inserted: {len(pool['inserted'])}, to be stored later: {len(pool['stored_later'])}")

    file = puzzle.resolve().parent / "results" / "weight_pairing_matrices.npz"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(matrices)
    print(f"matrices: {file}")
    print("solved" if summary["solved"] else "not solved")
    return 0 if summary["solved"] else 1


def shown(error: float | None) -> str:
    """An error as people read it."""
    return "none" if error is None else f"{error:.6g}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "track2_permutation")))
