module kcube/tests/bench/scale

go 1.22
