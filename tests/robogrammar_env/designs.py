"""RoboGrammar's published designs, and random ones for property tests."""

from hypothesis import strategies as st

from robogrammar_env.apr30 import LIMB_JOINTS, SPINE_JOINTS
from robogrammar_env.design import LimbLink, RobotDesign

PUBLISHED = {
    "ridged": [0, 7, 1, 13, 1, 2, 16, 12, 13, 6, 4, 19, 4, 17, 5, 3, 2, 16, 4, 5, 18, 9, 8, 9, 9, 8],
    "flat": [
        int(n) for n in "0 12 7 1 12 3 10 1 3 1 12 12 1 3 10 2 16 8 1 3 12 4 1 3 2 12 18 9 18 8 5 5 1 12 6 3".split()
    ],
    "gap": [int(n) for n in "0 1 1 7 1 6 10 3 2 4 10 10 3 16 4 16 18 2 5 16 8 4 8 8 18 4 5 15 9 8 8".split()],
    "frozen_lake": [0, 1, 1, 1, 6, 7, 10, 11, 13, 2, 4, 3, 4, 16, 8, 14, 4, 8, 3, 15, 15, 5, 3, 9, 8],
}
"""Rule sequences from RoboGrammar's README, by the terrain that they are for."""

limb_links = st.builds(LimbLink, st.sampled_from(sorted(LIMB_JOINTS)), st.booleans())


@st.composite
def designs(draw: st.DrawFn, max_parts: int = 13) -> RobotDesign:
    """Draws any apr30 design with at most `max_parts` torso segments and leg links of one side."""
    num_segments = draw(st.integers(1, 6))
    segments, left = [], max_parts - num_segments
    for _ in range(num_segments):
        leg = draw(st.lists(limb_links, max_size=min(4, left)))
        segments.append(tuple(leg))
        left -= len(leg)
    spine = draw(st.lists(st.sampled_from(sorted(SPINE_JOINTS)), min_size=num_segments - 1, max_size=num_segments - 1))
    return RobotDesign(tuple(segments), tuple(spine))
