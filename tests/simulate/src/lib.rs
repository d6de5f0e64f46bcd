//! What the whole stack is put through in the simulator: workloads, and the checkers that know how they must end.
