.code16
.globl _start
_start:
  cli
  xorw %ax,%ax
  movw %ax,%ds
  movw %ax,%es
  movw %ax,%ss
  movw $0x7c00,%sp
  # real-mode loop with memory writes
  movw $0x1000,%di
  movw $0x1800,%cx
  cld
  rep stosw              # clear page tables 0x1000..0x3fff
  movl $0x2003,0x1000    # PML4[0] -> 0x2000
  movl $0x3003,0x2000    # PDPT[0] -> 0x3000
  movl $0x83,0x3000      # PD[0] = 2 MiB page at 0
  lgdt gdtr
  movl %cr4,%eax
  orl $0x620,%eax        # PAE, OSFXSR, OSXMMEXCPT
  movl %eax,%cr4
  movl $0x1000,%eax
  movl %eax,%cr3
  movl $0xc0000080,%ecx
  rdmsr
  orl $0x100,%eax
  wrmsr                  # EFER.LME
  movl %cr0,%eax
  orl $0x80000001,%eax
  andl $~4,%eax
  movl %eax,%cr0
  ljmp $8,$long
.code64
long:
  movl $16,%eax
  movl %eax,%ds
  movl %eax,%ss
  movq $0x7c00,%rsp
  movl $100000,%ecx
1: pushq %rcx
  xorl %eax,%eax
  movl $1000,%ecx
2: addq %rcx,%rax
  decl %ecx
  jnz 2b
  popq %rcx
  cmpq $500500,%rax
  jne fail
  decl %ecx
  jnz 1b
  movaps %xmm0,%xmm1
  movl $0x10,%eax
  jmp out
fail: movl $1,%eax
out: outl %eax,$0xf4      # isa-debug-exit: status 2*0x10+1 = 33
3: hlt
  jmp 3b
.align 8
gdt: .quad 0
 .quad 0x00209a0000000000
 .quad 0x0000920000000000
gdtr: .word 23
 .long gdt
.org 510
.word 0xaa55
