"""Does my configuration hold? Simulated lives of two agents, with everything going wrong that can."""

from pi_trio import InstanceSpec, RestartPolicy, RestartType
from pi_trio.testing.lifecycles import LifecycleCheck, LifecycleFailure, check_lifecycles

REVIEWER = InstanceSpec(grace_timeout=2.0, restart=RestartPolicy(type=RestartType.PERMANENT, intensity=3, period=30.0))
HELPER = InstanceSpec(drain_timeout=0.5, restart=RestartType.TEMPORARY)


def main() -> None:
    try:
        report = check_lifecycles(LifecycleCheck(specs=[REVIEWER, HELPER], examples=50))
    except LifecycleFailure as failure:
        print(failure)  # which promise was broken, what shows it, and a program that replays it
    else:
        print(f"every promise held: {report}")


main()
