module kcube/tests/bench/floor

go 1.22
