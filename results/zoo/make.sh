#!/usr/bin/env bash
# The shipped tickets, as they were made: a search each, the level that is shipped, and what it shows elsewhere.
# Run in an empty folder with `oneticket` on the path and ONETICKET_DATA set; some two and a half hours on one core.
set -eu
export OMP_NUM_THREADS=1

oneticket find --data digits:a --model lenet-300-100 --optimizer sgd --levels 20 --out find/digits-a
oneticket find --data fashion_mnist --model lenet-300-100 --optimizer sgd --levels 18 --budget 8ep \
  --out find/lenet-fashion_mnist
oneticket find --data cifar10 --per-class 500 --model conv-4 --width 0.5 --optimizer sgd --levels 16 --budget 12ep \
  --out find/conv-4-cifar10
oneticket find --data cifar10 --per-class 400 --model resnet-20 --optimizer sgd --lr 0.05 --schedule cosine --levels 9 \
  --budget 12ep --out find/resnet-20-cifar10

ship() {  # NAME LEVEL: the ticket of that level
  oneticket pull "find/$1" --level "$2" --out "$1.safetensors"
}
carry() {  # NAME TARGET [FLAGS]: five trainings of this very ticket there, beside the controls
  name=$1 target=$2
  shift 2
  oneticket transfer "$name.safetensors" --data "$target" --controls reinit,global-random --replicates 5 --quiet \
    --rows "$name-on-${target//:/-}.csv" "$@"
}

ship digits-a 18
carry digits-a digits:b
carry digits-a fashion_mnist --per-class 100
carry digits-a cifar10 --per-class 200
carry digits-a svhn

ship lenet-fashion_mnist 18
carry lenet-fashion_mnist digits
carry lenet-fashion_mnist cifar10 --per-class 500
carry lenet-fashion_mnist svhn

ship conv-4-cifar10 10
carry conv-4-cifar10 fashion_mnist --per-class 100
carry conv-4-cifar10 cifar100 --classes 20 --per-class 50
carry conv-4-cifar10 svhn

ship resnet-20-cifar10 9
carry resnet-20-cifar10 fashion_mnist --per-class 100
carry resnet-20-cifar10 cifar100 --classes 20 --per-class 50
carry resnet-20-cifar10 svhn

for name in digits-a lenet-fashion_mnist conv-4-cifar10 resnet-20-cifar10; do
  oneticket score "$name.safetensors" "$name"-on-*.csv
done
