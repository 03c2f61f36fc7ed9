//! openraft's own suite for runtimes: ours must behave as openraft assumes, in both worlds.

#[test]
fn the_runtime_is_what_openraft_assumes() {
    openraft_rt::testing::Suite::<tidegate_runtime::Rt>::test_all();
}
