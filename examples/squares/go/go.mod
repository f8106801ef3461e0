module square

go 1.24
