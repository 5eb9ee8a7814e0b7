//! What needs two services, and rules over the whole tree. The tests lie in `tests/`.
